// Package config holds the configuration of a run: every key, its default, its meaning, and where its value came from.
//
// The two calls most readers want:
//
//	c, err := config.Load("run.toml", []config.Assignment{config.Set("train.steps=500")})
//	arch, err := c.Arch(vocab)
//
// A value comes from the defaults, then the preset, then the file, then --set and flags. The later one wins, and Origin
// says which it was. Reading is strict: it finds every fault of the file and the command line, and returns them in one
// *Error, each with its line, its key and what to do.
//
// In a key that may be automatic, zero or an empty string means that the planner decides. It stores its decision with
// SetPlanned, so that the run's own file holds every value.
//
// The package does not plan, and it looks at neither the corpus nor the machine. docs/config.md lists the keys.
package config
