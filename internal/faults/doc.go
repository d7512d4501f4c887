// Package faults plants mistakes and accidents in a run on purpose, so that anyone can watch the guard meet them. It
// stands around what a run is made of: the source of its batches, its engine and the disk that it is saved to. A run
// without faults has none of that around it.
//
//	set, err := faults.New(planted, env)
//	source, e := set.Source(loader.Source()), set.Engine(e)
//	…                                               // each step: a batch from source, passes, a proposal, a commit
//	fsys := set.Disk(fsys, step, batch)             // of the next save
//	saved := set.State()                            // goes with the save
//
// A fault begins with the first batch at which updates from its step on are due, and is planted once: what a set
// returns as its state makes the same set again. A nil set is one without faults.
//
// docs/guards.md defines each fault.
package faults
