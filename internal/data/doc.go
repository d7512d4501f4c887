// Package data turns documents into ragged batches: documents → token shards → sequences → batches, every step
// deterministic and resumable. The documents come from package corpus.
//
// The calls most readers want are Prepare, which tokenises a corpus once into a cache of memory-mapped shards, and
// NewLoader, whose Next fills a Batch for any Cursor:
//
//	c, err := corpus.Discover([]string{"texts"}, corpus.Options{})
//	set, err := data.Prepare(ctx, c, tok, data.PrepareOptions{ValFraction: 0.05})
//	loader, err := data.NewLoader(set.Train(256), seed, 8192)
//	for cur := (data.Cursor{}); ; { cur = loader.Next(&batch, cur) }
//
// A document of n tokens is the virtual row v = start, t0 … tn-1, EOS. Labels are v[1] … v[n+1], and the input of
// label j is v[j-1]. So the start token is never a label, EOS is the last label, and chunks overlap by one token. A
// sequence is a run of at most `context` labels. Nothing is padded, so no padding can be learned. Only t0 … tn-1 are
// stored, by package shards. A conversation is a document too: package chat writes its messages between marks of their
// roles, and says that only the assistant's words and the end of its turn count.
//
// The package knows no model and no schedule, keeps no state between batches (the Cursor is all there is to save), and
// writes only into the cache.
//
// Errors about the user's text are of type *Error and say what, where and what to do; errors of the cache (a full disk)
// are not.
package data
