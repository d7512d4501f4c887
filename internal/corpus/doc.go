// Package corpus finds the user's files and reads them as documents: plain text, JSONL, both also packed with gzip or
// zstd, and Parquet.
//
// The calls most readers want are Discover (or GoCorpus), which lists the files, and Documents, which yields what is
// in them:
//
//	c, err := corpus.Discover([]string{"texts"}, corpus.Options{})
//	for doc, err := range c.Documents(ctx, nil) { … }
//
// A document is a text, to be read as a stream, or a conversation: messages with a role, of which some are to be
// learned. Reading holds a buffer, and of JSONL one line and of Parquet one page: never a file. Every parser has a
// ceiling on what it allocates, so that a hostile file of a few bytes costs a few bytes.
//
// What it does not do: it knows no token and no template of a chat, keeps nothing, opens no archives, and writes
// nowhere.
//
// Errors are of type *Error and say what, where and what to do, or the context's.
package corpus
