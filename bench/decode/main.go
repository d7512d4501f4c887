// Command decode compares the speed of decoding with llama.cpp: the same random weights of the llama family, the same
// prompts, greedy, both with as many threads, alternately in one run. README.md has the commands.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
)

// size is a model of the llama family with a tied head.
type size struct {
	name                             string
	layers, width, heads, mlp, vocab int
}

var sizes = []size{
	{"10.7M", 6, 384, 6, 1024, 256},
	{"124M", 12, 768, 12, 2048, 50304},
	{"500M", 23, 1280, 20, 3456, 32000},
}

func (s size) arch() config.Arch {
	return config.Arch{Shape: "llama", Layers: s.layers, Width: s.width, Heads: s.heads, KVHeads: s.heads,
		HeadSize: s.width / s.heads, MLP: s.mlp, Vocab: s.vocab, Context: 256, Norm: "rms", NormEps: 1e-5,
		Position: "rope", RopeTheta: 1e4, MLPKind: "swiglu", Tie: true}
}

// formats are the precisions of the weights: llama.cpp's name, its number in enum llama_ftype, its cache.
var formats = map[string]struct {
	number int
	cache  string
}{"fp32": {0, "f32"}, "bf16": {32, "f16"}, "int8": {7, "f16"}}

var (
	peer    = flag.String("llama", "", "program made of peer/llama.c; empty: measure Gimbal alone")
	libs    = flag.String("libs", "", "directory of the libraries libggml-cpu-*.so")
	dir     = flag.String("dir", os.TempDir(), "where models for llama.cpp are written")
	only    = flag.String("sizes", "10.7M,124M,500M", "sizes of models")
	weights = flag.String("weights", "fp32,bf16,int8", "precisions of the weights")
	streams = flag.String("streams", "1,16", "numbers of streams")
	threads = flag.Int("threads", runtime.NumCPU(), "threads of each side")
	tokens  = flag.Int("tokens", 128, "tokens that each stream decodes")
	prompt  = flag.Int("prompt", 8, "tokens of a prompt")
	rounds  = flag.Int("rounds", 5, "timed rounds, after one to warm up")
)

func main() {
	flag.Parse()
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "decode:", err)
		os.Exit(1)
	}
}

func run(out io.Writer) error {
	x, err := kernel.NewExec(*threads, kernel.TierAuto)
	if err != nil {
		return err
	}
	defer x.Close()
	fmt.Fprintf(out, "tier %s, %d threads, %d tokens after prompts of %d, medians of %d rounds\n\n",
		x.Tier(), *threads, *tokens, *prompt, *rounds)
	fmt.Fprintln(out, "| model | weights | streams | Gimbal tokens/s | llama.cpp | ratio | range | "+
		"Gimbal CPU ms/step | llama.cpp | ratio | same tokens |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|---|---|---|")
	for _, s := range sizes {
		if slices.Contains(strings.Split(*only, ","), s.name) {
			if err := s.compare(out, x); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return nil
}

// compare prints the rows of one size.
func (s size) compare(out io.Writer, x *kernel.Exec) error {
	for _, format := range strings.Split(*weights, ",") {
		d, err := newGimbal(s, x, format)
		if err != nil {
			return err
		}
		file, clean := "", func() {}
		if *peer != "" {
			if file, clean, err = s.write(d.decoder, format); err != nil {
				return err
			}
		}
		for _, n := range strings.Split(*streams, ",") {
			n, err := strconv.Atoi(n)
			if err != nil {
				return err
			}
			if err := s.row(out, d, file, format, n); err != nil {
				return err
			}
		}
		clean()
	}
	return nil
}

// write makes the model's file for llama.cpp.
func (s size) write(d *model.Decoder[float32], format string) (file string, clean func(), err error) {
	file = filepath.Join(*dir, "decode-"+s.name+".gguf")
	if err := writeGGUF(file, s.arch(), d.Params()); err != nil {
		return "", nil, err
	}
	if format == "fp32" {
		return file, func() { os.Remove(file) }, nil
	}
	defer os.Remove(file)
	quantized := filepath.Join(*dir, "decode-"+s.name+"-"+format+".gguf")
	c := exec.Command(*peer, "quantize", file, quantized, strconv.Itoa(formats[format].number))
	if text, err := c.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("%w: %s", err, text)
	}
	return quantized, func() { os.Remove(quantized) }, nil
}

// trial is one timed round of one side.
type trial struct {
	wall, cpu float64 // seconds
	tokens    []int32 // of stream 0, then of stream 1, ...
}

// row measures both sides in turn and prints a line of the table.
func (s size) row(out io.Writer, g *gimbal, file, format string, streams int) error {
	g.begin(streams)
	var other *llama
	if file != "" {
		var err error
		if other, err = startLlama(file, formats[format].cache, streams); err != nil {
			return err
		}
		defer other.close()
	}
	var mine, theirs []trial
	for i := range *rounds + 1 {
		m := g.decode(streams)
		var t trial
		if other != nil {
			var err error
			if t, err = other.decode(); err != nil {
				return err
			}
		}
		if i > 0 {
			mine, theirs = append(mine, m), append(theirs, t)
		}
	}
	total, step := float64(streams**tokens), 1e3/float64(*tokens)
	wall, cpu := median(mine, wallOf), median(mine, cpuOf)
	fmt.Fprintf(out, "| %s | %s | %d | %.1f |", s.name, format, streams, total/wall)
	if other != nil {
		var ratios []float64
		for i := range mine {
			ratios = append(ratios, theirs[i].wall/mine[i].wall)
		}
		slices.Sort(ratios)
		fmt.Fprintf(out, " %.1f | %.2f | %.2f to %.2f | %.2f | %.2f | %.2f | %.1f %% |\n", total/median(theirs, wallOf),
			median(theirs, wallOf)/wall, ratios[0], ratios[len(ratios)-1], cpu*step, median(theirs, cpuOf)*step,
			median(theirs, cpuOf)/cpu, agree(mine[0].tokens, theirs[0].tokens))
	} else {
		fmt.Fprintf(out, " | | | %.2f | | | |\n", cpu*step)
	}
	return nil
}

func wallOf(t trial) float64 { return t.wall }
func cpuOf(t trial) float64  { return t.cpu }

func median(trials []trial, of func(trial) float64) float64 {
	var all []float64
	for _, t := range trials {
		all = append(all, of(t))
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// agree is the share of streams' tokens before their first difference, in per cent.
func agree(a, b []int32) float64 {
	same := 0
	for s := 0; s < len(a); s += *tokens {
		for i := s; i < s+*tokens && a[i] == b[i]; i++ {
			same++
		}
	}
	return 100 * float64(same) / float64(len(a))
}

// llama is a process that decodes with llama.cpp.
type llama struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startLlama(file, cache string, streams int) (*llama, error) {
	c := exec.Command(*peer, "decode", file, *libs, strconv.Itoa(*threads), strconv.Itoa(streams), cache)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	l := &llama{c, in, bufio.NewReaderSize(out, 1<<20)}
	if _, err := l.out.ReadString('\n'); err != nil { // ready
		return nil, fmt.Errorf("llama.cpp does not start: %w", err)
	}
	return l, nil
}

func (l *llama) decode() (t trial, err error) {
	fmt.Fprintf(l.in, "%d %d\n", *prompt, *tokens)
	line, err := l.out.ReadString('\n')
	if err != nil {
		return t, err
	}
	fields := strings.Fields(line)
	if t.wall, err = strconv.ParseFloat(fields[0], 64); err != nil {
		return t, err
	}
	if t.cpu, err = strconv.ParseFloat(fields[1], 64); err != nil {
		return t, err
	}
	for _, f := range fields[2:] {
		id, err := strconv.Atoi(f)
		if err != nil {
			return t, err
		}
		t.tokens = append(t.tokens, int32(id))
	}
	return t, nil
}

func (l *llama) close() {
	l.in.Close()
	l.cmd.Wait()
}
