// Package model is the decoder: the wiring of its forward and backward passes, over the parameters of package param.
//
// One decoder serves every architecture; config.Arch holds the choices (norm, positions, grouped queries, QK-norm,
// biases, kind of MLP, tied head). The calls most readers want:
//
//	m, err := model.New[float32](arch, x, model.Options{MicroTokens: 4096})
//	m.Init(seed)
//	nats := m.Backward(in, scale) // adds to m.Grads()
//
// New plans and allocates all memory once (Memory tells the plan before); no call allocates afterwards. Gradients are
// added, so micro-batches accumulate; whoever changes the parameters calls Refresh. NewDecoder makes a model for
// generation only, which needs little more than the parameters. The shapes of buffers follow the legend of package nn.
//
// Options.Mode chooses the numbers of float32 models. In ModeBF16 the operands of multiplies (normed inputs,
// attention's queries, keys, values, probabilities and outputs, activations, their gradients, and weights, packed by
// Refresh) and what is read element by element between two of them are bfloat16; parameters, gradients, the residual
// stream and its gradient, norms, softmax, logits and the loss are float32, as are all sums.
//
// The package knows no files, no optimizer and no tokenizer. A Model is not safe for concurrent use.
package model
