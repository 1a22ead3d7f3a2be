"""Ring 2: one chapter of the story a file. Ring 1 does not need them; `dsjq` loads what is asked for."""
