"""The revisions: NNNN_pre_* before new code runs on the schema, NNNN_post_* once no old code does."""
