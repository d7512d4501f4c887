// Package bench measures the parts of this program on the machine it runs on: kernels, whole training steps,
// generation and the tokenizer.
//
//	r, err := bench.Train(ctx, bench.TrainOptions{Preset: "gpt2-124m", Tokens: 4096, Context: 1024, Steps: 5})
//	err = bench.Kernels(ctx, bench.KernelOptions{}, func(k bench.Kernel) { … })
//
// Every figure is a median of several runs on random operands (units that multiply zeros draw less power and run
// faster), and every share is one of a peak measured between those runs: a machine that others use, or whose clock
// drifts, disturbs both alike.
//
// The package prints nothing and compares with no other program; bench/peers does that.
package bench
