"""Scripts that train public libraries' SASRec beside ours, run by an interpreter that has them."""
