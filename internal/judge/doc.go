// Package judge measures what a model writes, and decides by it: whether a run should stop, and which checkpoint to
// keep.
//
// A [Judge] is made once for a run, from its held-out text and its training text. It chooses the prompts (Prompts),
// and measures the continuations that somebody else has written (Measure) beside the continuations that people wrote,
// cut to the same lengths: a repetition rate means nothing by itself, its excess over people's does. Every number
// comes with a 95 % interval by prompt, because samples of one prompt are not independent.
//
//	j := judge.New(judge.Options{…})
//	report := j.Measure(texts)
//
// [Stop] and [Choose] are pure functions of the history of evaluations, a list of [Point], which the run saves: a
// resumed run decides as an unbroken one would. [Illusion] says where perplexity flatters.
//
// docs/judge.md has every formula, source, unit and threshold. The package writes nothing, reads no file but an
// encoder that it is pointed to, and knows no model: tokens come in as numbers, and text as what they spell.
package judge
