// Package bench is what "gimbal bench" tells: how near this program comes to the limits of the machine it runs on. It
// measures peaks and multiplies, whole training steps, generation and the tokenizer.
//
//	r, err := bench.Train(ctx, bench.TrainOptions{Preset: "gpt2-124m", Tokens: 4096, Context: 1024, Steps: 5})
//	where, err := bench.Kernels(ctx, bench.KernelOptions{Seconds: 0.1}, func(k bench.Kernel) { … })
//
// Every figure is a median of several runs on random operands (units that multiply zeros draw less power and run
// faster), and every share is one of a peak measured between those runs: a machine that others use, or whose clock
// drifts, disturbs both alike.
//
// The package prints nothing and compares with no other program; bench/peers does that. What a change of code is
// measured with are the Go benchmarks beside the code.
package bench
