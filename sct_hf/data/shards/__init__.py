"""Images in shards: a few large files that training streams from; `sct-hf shard` makes them."""
