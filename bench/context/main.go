// Command context measures a training pass over one long sequence, and its memory, against the operations that it
// needs.
//
//	GOMAXPROCS=1 go -C bench run ./context
//	GOMAXPROCS=1 go -C bench run ./context -model 6x384 -lengths 1024,4096,16384
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
)

var (
	shape   = flag.String("model", "2x128", "blocks x channels")
	lengths = flag.String("lengths", "1024,4096,16384,65536", "tokens of the sequence")
	mode    = flag.String("mode", "fp32", "fp32 or bf16")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "context:", err)
		os.Exit(1)
	}
}

func run() error {
	var layers, width int
	if _, err := fmt.Sscanf(*shape, "%dx%d", &layers, &width); err != nil {
		return fmt.Errorf("model %q: want blocks x channels", *shape)
	}
	x, err := kernel.NewExec(0, kernel.TierAuto)
	if err != nil {
		return err
	}
	defer x.Close()
	fmt.Printf("%s in %s, tier %s, %d threads, forward and backward of one sequence\n\n", *shape, *mode, x.Tier(),
		x.Workers())
	fmt.Println("| tokens | linear GFLOP | attention GFLOP | wall s | CPU s | GFLOP per CPU s | memory MB | " +
		"bytes a token |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, field := range strings.Split(*lengths, ",") {
		n, err := strconv.Atoi(field)
		if err != nil {
			return err
		}
		heads := max(1, width/64)
		a := config.Arch{Shape: "llama", Layers: layers, Width: width, Heads: heads, KVHeads: heads, HeadSize: width / heads,
			MLP: 3 * width, Vocab: 1024, Context: n, Norm: "rms", NormEps: 1e-5, Position: "rope", RopeTheta: 1e4,
			MLPKind: "swiglu", Tie: true}
		if err := pass(a, x); err != nil {
			return err
		}
	}
	return nil
}

// pass prints a row. The operations are 6 for each multiplied parameter and token, and attention over half of the
// positions: 12·L·C·T²/2.
func pass(a config.Arch, x *kernel.Exec) error {
	m, err := model.New[float32](a, x, model.Options{MicroTokens: a.Context, Mode: *mode})
	if err != nil {
		return err
	}
	m.Init(1)
	n := a.Context
	in := model.Input{Tokens: make([]int32, n), Labels: make([]int32, n), Counts: make([]bool, n),
		Bounds: []int32{0, int32(n)}}
	for i := range n {
		in.Tokens[i], in.Labels[i], in.Counts[i] = int32(i*7919%a.Vocab), int32((i+1)*7919%a.Vocab), true
	}
	wall, cpu := time.Now(), processTime()
	m.Backward(in, 1/float64(n))
	seconds, used := time.Since(wall).Seconds(), processTime()-cpu
	_, multiplied := a.Params()
	linear, square := 6e-9*float64(multiplied)*float64(n), 6e-9*float64(a.Layers*a.Width)*float64(n)*float64(n)
	bytes := m.Footprint().Total
	fmt.Printf("| %d | %.1f | %.1f | %.2f | %.2f | %.1f | %d | %d |\n", n, linear, square, seconds, used,
		(linear+square)/used, bytes>>20, bytes/int64(n))
	return nil
}

// processTime is the time that this process has computed, in seconds.
func processTime() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
