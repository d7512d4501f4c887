// Package corpus finds the user's files and reads them as documents: plain text and records of JSON, CSV and TSV,
// also packed with gzip or zstd or in another encoding, and Parquet. What is no text, and what this program writes,
// it leaves out.
//
// The calls most readers want are Discover (or GoCorpus), which lists the files, and Documents, which yields what is in
// them:
//
//	c, err := corpus.Discover([]string{"texts"}, corpus.Options{})
//	for doc, err := range c.Documents(ctx, nil) { … }
//
// A document is a text, read as a stream, or a conversation: messages with roles, some of which are trained on. Reading
// holds a buffer, and one record or one page of Parquet, never a file. Every parser has a limit on what it
// allocates, so that a hostile file of a few bytes costs a few bytes.
//
// The package knows no tokens and no chat templates, opens no archives, and writes nothing.
//
// Errors are of type *Error and say what, where and what to do, or are the context's.
package corpus
