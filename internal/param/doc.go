// Package param is the parameters of a decoder: their names, shapes and initial values, those of adapters, and their
// way into files and out of them.
//
// It knows what each tensor is (Kind), where a decoder has it (Slot) and how a family stores it, and computes nothing
// with it. Params is one flat slice with a View for each tensor; gradients and moments have the same layout.
package param
