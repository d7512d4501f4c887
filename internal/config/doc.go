// Package config is the one description of a run: every key, its default, its meaning, and where its value came from.
//
// The two calls most readers want:
//
//	c, err := config.Load("run.toml", []config.Assignment{config.Set("train.steps=500")})
//	arch, err := c.Arch(vocab)
//
// A value comes from the defaults, then the preset, then the file, then --set and flags; the later wins, and
// Origin tells which it was. Reading is strict: every fault of the file and of the command line is found and
// returned in one *Error, each with its line, its key and what to do.
//
// A zero (or an empty string) in a key that may be automatic means "decide for me"; whoever decides, the planner
// of a run, writes the result back with SetPlanned, so that a run's own file says everything it was made with.
//
// The package plans nothing, touches no corpus and knows no machine. docs/config.md lists the keys.
package config
