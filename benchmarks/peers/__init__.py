"""Train public libraries' SASRec, run by an interpreter that has them installed."""
