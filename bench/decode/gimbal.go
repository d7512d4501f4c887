package main

import (
	"syscall"
	"time"

	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/param"
)

// gimbal decodes with Gimbal.
type gimbal struct {
	decoder *model.Decoder[float32]
	cache   *model.Cache[float32]
	logits  []float32
}

// mostStreams sizes decoders.
const mostStreams = 64

func newGimbal(s size, x *kernel.Exec, format string) (*gimbal, error) {
	a := s.arch()
	d, err := model.NewDecoder[float32](a, x, model.DecoderOptions{Tokens: 512, Rows: mostStreams, Weights: format})
	if err != nil {
		return nil, err
	}
	d.Params().Init(x.Pool(), a.Layers, 1)
	for _, v := range d.Params().Views { // larger weights than initial ones: the texts are less alike
		if v.Kind != param.KindNorm {
			kernel.Affine(x, d.Params().Flat[v.Lo:v.Hi], d.Params().Flat[v.Lo:v.Hi], 2, 0)
		}
	}
	d.Refresh()
	return &gimbal{decoder: d}, nil
}

func (g *gimbal) begin(streams int) {
	g.cache = model.NewCache[float32](g.decoder.Arch(), streams, *prompt+*tokens)
	g.logits = make([]float32, streams*g.decoder.Arch().Vocab)
}

// decode makes one round; see peer/llama.c.
func (g *gimbal) decode(streams int) trial {
	vocab := g.decoder.Arch().Vocab
	next, rows := make([]int32, streams), make([]int32, streams)
	var read, owner []int32
	for s := range streams {
		rows[s] = int32(s)
		g.cache.Truncate(s, 0)
		for i := range *prompt {
			read, owner = append(read, int32((7919*s+104729*i)%vocab)), append(owner, int32(s))
		}
	}
	take := func() {
		for s := range next {
			next[s] = int32(likeliest(g.logits[s*vocab : (s+1)*vocab]))
		}
	}
	g.decoder.Decode(g.cache, read, owner, g.logits)
	take()
	t := trial{tokens: make([]int32, streams**tokens)}
	wall, cpu := time.Now(), processTime()
	for i := range *tokens {
		for s, token := range next {
			t.tokens[s**tokens+i] = token
		}
		g.decoder.Decode(g.cache, next, rows, g.logits)
		take()
	}
	t.wall, t.cpu = time.Since(wall).Seconds(), processTime()-cpu
	return t
}

func likeliest(logits []float32) (best int) {
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	return best
}

// processTime is the time that this process has computed, in seconds.
func processTime() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
