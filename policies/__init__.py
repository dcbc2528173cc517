"""Rank videos and comments: the contract, the registry and the built-in baselines."""

from policies.names import register

register(
    random="policies.videos.random:RandomPolicy",
    popular="policies.videos.popular:PopularPolicy",
    itemknn="policies.videos.itemknn:ItemKNN",
    ease="policies.videos.ease:EASE",
    gru4rec="policies.videos.gru4rec:GRU4Rec",
    sasrec="policies.videos.sasrec:SASRec",
    bert4rec="policies.videos.bert4rec:BERT4Rec",
    fmlprec="policies.videos.fmlprec:FMLPRec",
    hstu="policies.videos.hstu:HSTU",
    unisrec="policies.videos.unisrec:UniSRec",
    two_tower="policies.videos.two_tower:TwoTower",
    likes="policies.comments.orders:Likes",
    newest="policies.comments.orders:Newest",
    comment_sasrec="policies.comments.sasrec:CommentSASRec",
    comment_value="policies.comments.value_policy:CommentValue",
    no_taste="policies.comments.value_policy:NoTaste",
    fused="policies.comments.fused:Fused",
    text_similarity="policies.comments.text_similarity:TextSimilarity",
)
