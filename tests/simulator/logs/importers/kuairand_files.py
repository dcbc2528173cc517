"""Write files in KuaiRand's layout."""

from __future__ import annotations

from pathlib import Path

HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    "is_profile_enter,is_rand,tab"
)


ROW = "7,3,20220408,0,1649349856990,1,1,0,1,0,0,1,43454,14233,0,27683,0,0,1"


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
