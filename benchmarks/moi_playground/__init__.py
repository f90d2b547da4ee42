"""`moi playground`: a page that shows plain decoding and a policy side by side, token by token."""
