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
// A document of n tokens is seen as the virtual row v = start, t0 … tn-1, EOS. Labels are v[1] … v[n+1], and the input
// of label j is v[j-1]: that one rule gives the start token that is never a label, the EOS that is the last one, and
// chunks that overlap by one token. A sequence is a run of at most `context` labels; nothing is padded, so no padding
// can be learnt from. Only t0 … tn-1 are stored; the format is described in docs/format/shards.md. A conversation is a
// document too: package chat writes its messages between marks of their roles, and says that only the assistant's
// words and the end of its turn count.
//
// What it does not do: it knows no model and no schedule, keeps no state between batches (a Cursor is all there is to
// save), and never writes beside the user's files, only into the cache.
//
// Errors about the user's text are of type *Error and say what, where and what to do; errors of the cache (a full
// disk) are not.
package data
