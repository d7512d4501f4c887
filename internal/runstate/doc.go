// Package runstate is what a run is between two steps, beside weights and moments: the [State] that decides what comes
// next, the [Feed] that gives the batches from its place in the data on, the [Store] that it is saved in, and a [Saved]
// run that is opened again.
//
// Marks, and which checkpoints are kept, follow from the state and are made anew by whoever opens a run for writing.
// The package trains nothing: what goes into a checkpoint is handed to it.
package runstate
