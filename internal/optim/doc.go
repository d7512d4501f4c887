// Package optim turns gradients into updates: Muon and AdamW on flat slices, clipping by the global norm, and learning
// rates as pure functions of the step.
//
// The calls of one step, in their order:
//
//	opt.Stats(grads, byTensor)                  // now and then: mean, RMS and largest gradient of each tensor
//	norm := opt.GlobalNorm(grads)               // float64; not finite: the caller refuses the step
//	scale, err := optim.ClipScale(norm, clip)
//	lr := optim.LR(schedule, step)
//	ratio := opt.Trial(params, grads, step, lr, scale, byTensor) // now and then: what Update would do
//	opt.Update(params, grads, step, lr, scale)
//
// Nothing here has hidden state. The schedule is computed from the number of the update, so a run that is killed,
// resumed or extended gets the same rates. Only the slots of the optimizer need to be saved.
//
// The package knows no model: it sees slices, and the ranges of them that decay. guard decides what happens after a bad
// step.
package optim
