"""The spool: requests that the database cannot take now, kept durably on disk until it can.

    keep ──▶ queue ──group──▶ store ──▶ <folder>/<slot>/<sequence>.batch ──▶ store ──▶ read, remove or quarantine
             gathers           fsync     one group of requests (`entry`)      oldest first

What is kept is the request as it was received, so that it is decoded on its way out just as it would have been on its
way in. `entry` is the format, pure; `files` writes so that it lasts; `slot` is one process's folder of entries and its
lock; `store` has the order, the bounds and the counts; `queue` gathers concurrent requests. `errors` has what may fail.
"""
