package model

import (
	"fmt"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/nn"
	"gimbal/internal/param"
)

// Cache holds the keys and values of sequences that are being generated, one row each.
type Cache[T kernel.Float] struct {
	rows, capacity int
	k, v           [][]T // (L) of what nn.Attention.Cached appends to
	length         []int // (rows)
}

// CacheBytes is the memory of NewCache for float32.
func CacheBytes(a config.Arch, rows, capacity int) int64 {
	ar := arena{dry: true}
	newCache[float32](&ar, a, rows, capacity)
	return ar.footprint.Total
}

// NewCache allocates a cache of rows sequences of at most capacity positions. Panics if capacity is above the context.
func NewCache[T kernel.Float](a config.Arch, rows, capacity int) *Cache[T] {
	return newCache[T](new(arena), a, rows, capacity)
}

func newCache[T kernel.Float](ar *arena, a config.Arch, rows, capacity int) *Cache[T] {
	require(capacity <= a.Context && rows > 0 && capacity > 0, "model: cache of no rows or beyond the context")
	c := &Cache[T]{rows: rows, capacity: capacity, k: make([][]T, a.Layers), v: make([][]T, a.Layers),
		length: make([]int, rows)}
	for l := range c.k {
		c.k[l] = alloc[T](ar, partCache, rows*a.KVHeads*nn.KeyCacheLen(capacity, a.HeadSize))
		c.v[l] = alloc[T](ar, partCache, rows*capacity*keyWidth(a))
	}
	return c
}

// Rows is the number of rows.
func (c *Cache[T]) Rows() int { return c.rows }

// Capacity is the number of positions that a row can hold.
func (c *Cache[T]) Capacity() int { return c.capacity }

// Len is the number of positions that a row holds.
func (c *Cache[T]) Len(row int) int { return c.length[row] }

// Truncate forgets a row's positions from n on; 0 empties it.
func (c *Cache[T]) Truncate(row, n int) {
	require(n >= 0 && n <= c.length[row], "model: cache truncated to more than it holds")
	c.length[row] = n
}

// Grow makes room for more positions, and keeps what the rows hold.
func (c *Cache[T]) Grow(a config.Arch, capacity int) {
	more := NewCache[T](a, c.rows, capacity)
	for l := range c.k {
		for i := range c.rows * a.KVHeads {
			old, size := nn.KeyCacheLen(c.capacity, a.HeadSize), nn.KeyCacheLen(capacity, a.HeadSize)
			copy(more.k[l][i*size:(i+1)*size], c.k[l][i*old:(i+1)*old])
			old, size = c.capacity*a.HeadSize, capacity*a.HeadSize
			copy(more.v[l][i*size:(i+1)*size], c.v[l][i*old:(i+1)*old])
		}
	}
	copy(more.length, c.length)
	*c = *more
}

// DecoderOptions size a Decoder.
type DecoderOptions struct {
	Tokens  int    // positions computed at once; longer calls are cut
	Rows    int    // most rows that one call extends
	Mode    string // as Options.Mode; a Model's decoder has the mode of the model
	Weights string // a format of param.Formats for the matrices, multiplied in mode fp32; "": as the mode has them
}

var kernelFormats = map[string]kernel.Format{"": kernel.FP32, param.FormatFP32: kernel.FP32,
	param.FormatBF16: kernel.BF16, param.FormatInt8: kernel.Int8}

// Decoder computes the logits after tokens that extend the rows of a cache. It needs no memory for training.
// Not safe for concurrent use, nor together with the Model whose Exec it shares.
type Decoder[T kernel.Float] struct {
	network[T]
	opt       DecoderOptions
	footprint Footprint
	positions int         // that it can compute at without reach
	stop      func() bool // Decode returns early once it is true; nil: it never is

	x0, mean, rstd []T // (N, C), (N), (N)
	branch, normed kernel.Mat[T]
	qkv, qk        kernel.Mat[T] // qk is qkv, or with QK-norm (N, (H+KV)·D)
	attended       kernel.Mat[T] // (N, H·D)
	operand        kernel.Mat[T] // attended, rounded in bf16 mode
	hidden, active kernel.Mat[T]
	qkRstd         []T
	last           []T // (rows, C)
	lastNormed     kernel.Mat[T]
	pos            []int32
	runs           []nn.Run
}

// NewDecoder returns a decoder with parameters of its own, all zero: load them and call Refresh.
//
// Returns an error if the architecture or an option makes no sense.
func NewDecoder[T kernel.Float](a config.Arch, x *kernel.Exec, opt DecoderOptions) (*Decoder[T], error) {
	return newDecoder[T](a, x, nil, opt)
}

// Decoder returns a decoder that shares the parameters of m and what Refresh derives from them.
func (m *Model[T]) Decoder(opt DecoderOptions) (*Decoder[T], error) {
	opt.Mode, opt.Weights = m.opt.Mode, ""
	return newDecoder(m.arch, m.network.x, &m.network, opt)
}

func newDecoder[T kernel.Float](a config.Arch, x *kernel.Exec, shared *network[T],
	opt DecoderOptions) (*Decoder[T], error) {
	if opt.Weights != "" {
		opt.Mode = ModeFP32
	}
	opt.Mode = resolve[T](x, opt.Mode)
	format, known := kernelFormats[opt.Weights]
	if !known {
		return nil, fmt.Errorf("model: weights %q: want %s", opt.Weights, strings.Join(param.Formats, ", "))
	}
	if format != kernel.FP32 && isFloat64[T]() {
		return nil, fmt.Errorf("model: weights %s are for float32 only", opt.Weights)
	}
	if err := check[T](a, Options{MicroTokens: opt.Tokens, Mode: opt.Mode}); err != nil {
		return nil, err
	}
	if opt.Rows <= 0 {
		return nil, fmt.Errorf("model: decoder of %d rows", opt.Rows)
	}
	ar := &arena{bf16: opt.Mode == ModeBF16, format: format}
	purpose := sharing
	var p *param.Params[T]
	if shared == nil {
		views, total := param.Layout(a)
		purpose, p = generation, param.NewIn(alloc[T](ar, partParams, total), views)
	}
	n, c := opt.Tokens, a.Width
	d := &Decoder[T]{opt: opt}
	d.x0, d.branch = alloc[T](ar, partActivations, n*c), mat[T](ar, partActivations, n, c)
	d.normed = operand[T](ar, partActivations, n, c)
	d.mean, d.rstd = alloc[T](ar, partActivations, max(n, opt.Rows)), alloc[T](ar, partActivations, max(n, opt.Rows))
	d.qkv, d.attended = mat[T](ar, partActivations, n, qkvWidth(a)), mat[T](ar, partActivations, n, queryWidth(a))
	if d.operand = d.attended; ar.bf16 {
		d.operand = operand[T](ar, partActivations, n, queryWidth(a))
	}
	if d.qk = d.qkv; a.QKNorm {
		d.qk = mat[T](ar, partActivations, n, queryWidth(a)+keyWidth(a))
		d.qkRstd = alloc[T](ar, partActivations, n*(a.Heads+a.KVHeads))
	}
	d.hidden, d.active = product[T](ar, partActivations, n, hiddenWidth(a)), operand[T](ar, partActivations, n, a.MLP)
	d.last, d.lastNormed = alloc[T](ar, partActivations, opt.Rows*c), operand[T](ar, partActivations, opt.Rows, c)
	d.pos, d.runs = alloc[int32](ar, partBatch, n), make([]nn.Run, 0, n)
	d.positions = min(a.Context, tabled, max(1, tabledAngles/a.HeadSize))
	d.network = newNetwork(a, x, p, shared, nil, newWorkspace[T](ar, a, d.positions, x.Workers(), purpose))
	d.footprint = ar.footprint
	return d, nil
}

// Decode extends rows of the cache by tokens and overwrites logits with those of the token that follows each row's
// last.
//
// Shapes: tokens and rows (N): rows[i] is the row that tokens[i] extends; the tokens of one row lie together. logits
// (R, V), in the order of rows in the call: R is their number, at most DecoderOptions.Rows, and is returned.
// A prompt is many tokens of one row, a step of generation one token of each row. A call may mix both.
// Numerics: a row's bits do not depend on the other rows.
// Panics if a row would grow beyond the cache's capacity.
func (d *Decoder[T]) Decode(cache *Cache[T], tokens, rows []int32, logits []T) int {
	require(len(tokens) == len(rows), "model: decode: rows do not match the tokens")
	d.reach(cache.capacity)
	done := 0
	for lo := 0; lo < len(tokens); lo += d.opt.Tokens {
		if d.stop != nil && d.stop() {
			return 0
		}
		hi := min(len(tokens), lo+d.opt.Tokens)
		d.chunk(cache, tokens, rows, lo, hi)
		// Rows that end in this chunk.
		for _, r := range d.runs {
			end := r.First + r.Len
			if hi < len(tokens) && lo+end == hi && rows[hi] == rows[hi-1] {
				break
			}
			require(done < d.opt.Rows, "model: decode: more rows than the decoder has")
			copy(d.last[done*d.arch.Width:(done+1)*d.arch.Width], d.x0[(end-1)*d.arch.Width:end*d.arch.Width])
			done++
		}
	}
	if done == 0 {
		return 0
	}
	d.norm.Forward(d.lastNormed, d.mean, d.rstd, d.last, d.outside[param.SlotGain], d.outside[param.SlotBias], done)
	out := kernel.Dense(logits, done, d.arch.Vocab)
	d.headWeights.Forward(d.x, out, d.lastNormed, done)
	d.logits.Forward(out, done)
	return done
}

// The longest text for which a decoder has tables and scratch memory from the start: positions, and those times the
// size of a head.
const (
	tabled       = 1 << 15
	tabledAngles = 1 << 24
)

// reach makes tables and scratch memory for texts of so many positions. Their numbers do not depend on how many.
func (d *Decoder[T]) reach(positions int) {
	if positions <= d.positions {
		return
	}
	a, mem := d.arch, workspace[T]{positions: positions}
	mem.newTables(new(arena), a)
	mem.score = make([]T, nn.AttentionLen(d.x.Workers(), positions))
	d.positions = positions
	d.attend(mem, nil)
}

// chunk computes the residual stream after the last block for tokens [lo, hi) of a call and appends their keys and
// values to the cache.
func (d *Decoder[T]) chunk(cache *Cache[T], tokens, rows []int32, lo, hi int) {
	n := hi - lo
	d.runs = d.runs[:0]
	for i, row := range rows[lo:hi] {
		if i == 0 || row != rows[lo+i-1] {
			d.runs = append(d.runs, nn.Run{Row: int(row), Past: cache.length[row], First: i})
		}
		require(cache.length[row] < cache.capacity, "model: decode: cache is full")
		d.pos[i] = int32(cache.length[row])
		cache.length[row]++
		d.runs[len(d.runs)-1].Len++
	}
	tokens, pos := tokens[lo:hi], d.pos[:n]
	d.embedding.Forward(d.x0, tokens, pos, d.outside[param.SlotEmbed], d.outside[param.SlotPosition], nn.Masks{})
	for l := range d.blocks {
		d.block(cache, l, pos)
	}
}

// block computes a block for the positions of a chunk, in place.
func (d *Decoder[T]) block(cache *Cache[T], l int, pos []int32) {
	w, m, n := d.at(l), d.mixers[l], len(pos)
	d.before(d.normed, d.mean, d.rstd, d.x0, &w.tensors, param.SlotGain1, n)
	w.qkv.Forward(d.x, d.qkv, d.normed, n)
	m.heads.Forward(d.qk, d.qkRstd, d.qkv, w.tensors[param.SlotQKVBias], w.tensors[param.SlotQGain],
		w.tensors[param.SlotKGain], pos, n)
	q, k, v := splitHeads(d.arch, d.qk, d.qkv)
	m.attention.Cached(d.attended, q, k, v, cache.k[l], cache.v[l], cache.capacity, d.runs)
	if d.operand.H != nil {
		d.rounding.Forward(d.operand, d.attended, n)
	}
	w.o.Forward(d.x, d.branch, d.operand, n)
	if d.arch.Parallel {
		d.before(d.normed, d.mean, d.rstd, d.x0, &w.tensors, param.SlotGain2, n)
	}
	d.add(w, param.SlotOBias, param.SlotPost1, n)
	if !d.arch.Parallel {
		d.before(d.normed, d.mean, d.rstd, d.x0, &w.tensors, param.SlotGain2, n)
	}
	w.gateUp.Forward(d.x, d.hidden, d.normed, n)
	d.activation.Forward(d.active, d.hidden, w.tensors[param.SlotGateUpBias], n)
	w.down.Forward(d.x, d.branch, d.active, n)
	d.add(w, param.SlotDownBias, param.SlotPost2, n)
}

// add adds the branch to the residual stream, after its norm where there is one.
func (d *Decoder[T]) add(w *block[T], bias, post param.Slot, n int) {
	if w.tensors[post] != nil {
		d.norm.Forward(d.branch, d.mean, d.rstd, d.branch.F, w.tensors[post], w.tensors[post+1], n)
	}
	d.residual.Forward(d.x0, d.x0, d.branch, w.tensors[bias], nn.Masks{}, n)
}
