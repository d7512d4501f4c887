// Command gomlx times training steps of GoMLX on its pure-Go backend, for ../peers.py --gomlx: the GPT-2 shape with a
// tied head, causal attention by masked softmax, cross-entropy and AdamW; gradients are not clipped. It reads the shape
// from the environment and prints "seconds S" for each step after the first.
//
// In GoMLX v0.26 the gradient of a multiply (dotVJP, dotGeneralVJP) is a product with all three dimensions that is then
// summed. XLA never stores it; the pure-Go backend does, so that all but small shapes need more memory than there is:
// those are refused.
package main

import (
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/simplego"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	. "github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/ml/context"
	"github.com/gomlx/gomlx/pkg/ml/layers"
	"github.com/gomlx/gomlx/pkg/ml/layers/activations"
	"github.com/gomlx/gomlx/pkg/ml/train/losses"
	"github.com/gomlx/gomlx/pkg/ml/train/optimizers"
)

// shape is a model of the GPT-2 shape.
type shape struct{ layers, width, heads, vocab int }

var known = map[string]shape{
	"gpt2-124m":   {12, 768, 12, 50257},
	"char-10m":    {6, 384, 6, 65},
	"nanogpt-cpu": {4, 128, 4, 65},
}

func number(name string) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil || n < 1 {
		log.Fatalf("%s: want a number from 1 up, not %q", name, os.Getenv(name))
	}
	return n
}

func main() {
	s, ok := known[os.Getenv("PEER_MODEL")]
	if !ok {
		log.Fatalf("PEER_MODEL: unknown model %q", os.Getenv("PEER_MODEL"))
	}
	batch, length, steps := number("PEER_BATCH"), number("PEER_CONTEXT"), number("PEER_STEPS")
	if bytes := 4 * batch * length * s.width * max(4*s.width, s.vocab); bytes > 2<<30 {
		log.Fatalf("the gradient of one multiply stores %.0f GB on this backend", float64(bytes)/1e9)
	}
	var backend backends.Backend = simplego.GetBackend()
	optimizer := optimizers.Adam().LearningRate(1e-4).Betas(0.9, 0.99).WeightDecay(0.1).Done()
	step := context.MustNewExec(backend, context.New(), func(ctx *context.Context, tokens *Node) *Node {
		ctx.SetTraining(tokens.Graph(), true)
		loss := s.loss(ctx, tokens, batch, length)
		optimizer.UpdateGraph(ctx, tokens.Graph(), loss)
		return loss
	})
	for i := range steps + 1 {
		tokens := make([][]int32, batch)
		for b := range tokens {
			tokens[b] = make([]int32, length+1)
			for t := range tokens[b] {
				tokens[b][t] = rand.Int32N(int32(s.vocab))
			}
		}
		began := time.Now()
		out, err := step.Exec(tokens)
		if err != nil {
			log.Fatal(err)
		}
		loss := float64(out[0].Value().(float32))
		if math.Abs(loss-math.Log(float64(s.vocab))) > 2 {
			log.Fatalf("a loss of %g on random tokens", loss)
		}
		if i > 0 {
			fmt.Printf("seconds %g\n", time.Since(began).Seconds())
		}
	}
}

// loss is the mean cross-entropy of tokens (B, T+1).
func (s shape) loss(ctx *context.Context, tokens *Node, batch, length int) *Node {
	g := tokens.Graph()
	ctx = ctx.WithInitializer(func(g *Graph, shape shapes.Shape) *Node {
		if len(shape.Dimensions) < 2 {
			return Zeros(g, shape)
		}
		state, err := RNGStateFromSeed(int64(shape.Size()))
		if err != nil {
			log.Fatal(err)
		}
		_, values := RandomNormal(Const(g, state), shape)
		return MulScalar(values, 0.02)
	})
	n := batch * length // rows of matrices: the backend multiplies those faster than anything with more axes
	read := Reshape(Slice(tokens, AxisRange(), AxisRange(0, length)), n, 1)
	labels := Reshape(Slice(tokens, AxisRange(), AxisRange(1, length+1)), n, 1)
	table := ctx.In("embed").VariableWithShape("w", shapes.Make(dtypes.Float32, s.vocab, s.width)).ValueGraph(g)
	position := ctx.In("position").VariableWithShape("w", shapes.Make(dtypes.Float32, length, s.width)).ValueGraph(g)
	x := Add(Gather(table, read), Reshape(BroadcastToDims(InsertAxes(position, 0), batch, length, s.width), n, s.width))
	for l := range s.layers {
		block := ctx.In(fmt.Sprintf("block%d", l))
		x = Add(x, s.attention(block.In("attention"), layers.LayerNormalization(block.In("norm1"), x, -1).Done(), batch,
			length))
		h := layers.DenseWithBias(block.In("up"), layers.LayerNormalization(block.In("norm2"), x, -1).Done(), 4*s.width)
		x = Add(x, layers.DenseWithBias(block.In("down"), activations.GeluApproximate(h), s.width))
	}
	logits := Einsum("nc,vc->nv", layers.LayerNormalization(ctx.In("norm"), x, -1).Done(), table)
	return ReduceAllMean(losses.SparseCategoricalCrossEntropyLogits([]*Node{labels}, []*Node{logits}))
}

func (s shape) attention(ctx *context.Context, x *Node, batch, length int) *Node {
	g, size := x.Graph(), s.width/s.heads
	part := func(name string) *Node { // of their own: the backend cannot differentiate a slice
		return Reshape(layers.DenseWithBias(ctx.In(name), x, s.width), batch, length, s.heads, size)
	}
	scores := MulScalar(Einsum("bthd,bshd->bhts", part("q"), part("k")), 1/math.Sqrt(float64(size)))
	mask := BroadcastToDims(InsertAxes(LowerTriangular(g, length), 0, 0), batch, s.heads, length, length)
	weights := Softmax(Where(mask, scores, MulScalar(OnesLike(scores), -1e9)), -1)
	out := Einsum("bhts,bshd->bthd", weights, part("v"))
	return layers.DenseWithBias(ctx.In("o"), Reshape(out, batch*length, s.width), s.width)
}
