package graph

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Packed returns the two arguments of a program with CuDNN: the lengths (R, Segments) of a batch's sequences and their
// offsets (R, Segments+1) in positions, both I32. The sequences of all rows come first, one after the other. seg (R, T)
// is that of Gradient. It fails if a row has more than p.Segments sequences.
func (p Pass) Packed(seg []int32) (lengths, offsets []int32, err error) {
	lengths, offsets = make([]int32, p.Rows*p.Segments), make([]int32, p.Rows*(p.Segments+1))
	for i := range offsets {
		offsets[i] = int32(len(seg))
	}
	s, inRow := -1, 0
	for i, id := range seg {
		if i%p.Length == 0 {
			inRow = 0
		}
		if id < 0 {
			continue
		}
		if i%p.Length == 0 || seg[i-1] != id {
			if inRow++; inRow > p.Segments {
				return nil, nil, fmt.Errorf("graph: more than %d sequences in row %d", p.Segments, i/p.Length)
			}
			s++
			offsets[s] = int32(i)
		}
		lengths[s]++
	}
	return lengths, offsets, nil
}

// flashAttention is attention by cuDNN's kernel for packed sequences, in the form in which XLA knows it. What the
// kernel leaves in empty places is not read.
func (s *pass) flashAttention(parts [3]value) (out value, back func(dout value) [3]value) {
	a, r, t := s.Arch, s.Rows, s.Length
	rows := func(x value) value { return s.cast(s.reshape(x, r, t, x.Dims[1], a.HeadSize), BF16) }
	q, k, v := rows(parts[0]), rows(parts[1]), rows(parts[2])
	offsets := func(heads int) value {
		return s.mul(s.flash[1], s.integer(I32, uint64(heads*a.HeadSize), s.flash[1].Dims...))
	}
	packed := []value{s.flash[0], s.flash[0], offsets(a.Heads), offsets(a.KVHeads)}
	like := func(x value) Shape { return Shape{BF16, []int{r, x.Dims[2], t, a.HeadSize}} }
	work, sums := Shape{U8, []int{0}}, Shape{F32, []int{r * s.Segments, a.Heads, t}}
	taken := s.spread(s.compare("GE", s.seg, s.integer(I32, 0, r, t)), []int{r, t, a.Heads, a.HeadSize}, 0, 1)
	// positions turns a result (R, H, T, D), which lies as (R, T, H, D), into (R, T, H, D).
	positions := func(x value) value {
		x = s.transpose(x, 0, 2, 1, 3)
		return s.choose(s.cut(taken, 2, 0, x.Dims[2]), x, s.zeros(BF16, x.Dims...))
	}
	o := s.custom("__cudnn$fmhaSoftmax", s.flashConfig(forwardDots),
		append([]value{q, k, v}, packed...), like(q), sums, work)
	y := positions(o[0])
	return s.cast(s.reshape(y, s.n, a.Heads*a.HeadSize), F32), func(dout value) [3]value {
		do := rows(s.reshape(dout, s.n, a.Heads, a.HeadSize))
		d := s.custom("__cudnn$fmhaSoftmaxBackward", s.flashConfig(backwardDots),
			append([]value{q, k, v, o[1], do, y}, packed...), like(q), like(k), like(v), work)
		var parts [3]value
		for i := range parts {
			x := positions(d[i])
			parts[i] = s.cast(s.reshape(x, s.n, x.Dims[2], a.HeadSize), F32)
		}
		return parts
	}
}

// flashDot names a multiply of the kernel, and the dimensions over which it sums and which it matches.
type flashDot struct{ name, left, right, leftBatch, rightBatch string }

var (
	forwardDots  = []flashDot{{"bmm1", "3", "3", "0,2", "0,2"}, {"bmm2", "3", "1", "0,1", "0,2"}}
	backwardDots = []flashDot{
		{"bmm1_grad_gemm1", "2", "1", "0,1", "0,2"}, {"bmm1_grad_gemm2", "3", "1", "0,1", "0,2"},
		{"bmm2_grad_gemm1", "2", "1", "0,1", "0,2"}, {"bmm2_grad_gemm2", "3", "3", "0,2", "0,2"},
	}
)

// flashConfig is the configuration of the call.
func (s *pass) flashConfig(dots []flashDot) string {
	t := strconv.Itoa(s.Length)
	config := map[string]any{
		"algorithm": map[string]any{"algo_id": "0", "math_type": "TENSOR_OP_MATH",
			"tuning_knobs": map[string]string{"17": "1", "24": "0"}, "is_cudnn_frontend": true, "workspace_size": "0"},
		"fmha_scale": 1.0, // the queries carry it
		"intermediate_tensor_shape": map[string]any{"element_type": "BF16",
			"dimensions":   []string{strconv.Itoa(s.Rows), strconv.Itoa(s.Arch.Heads), t, t},
			"tuple_shapes": []int{}, "layout": map[string]any{"minor_to_major": []string{"3", "2", "1", "0"}},
			"is_dynamic_dimension": []bool{false, false, false, false}},
		"is_flash_attention": true, "mask_type": "PADDING_CAUSAL", "dropout_rate": 0.0, "seed": 42,
		"sliding_window_length": 0, "max_seg_per_batch": s.Segments, "is_paged_attention": false,
	}
	for _, d := range dots {
		config[d.name+"_dot_dimension_numbers"] = map[string]any{
			"lhs_contracting_dimensions": []string{d.left}, "lhs_batch_dimensions": strings.Split(d.leftBatch, ","),
			"rhs_contracting_dimensions": []string{d.right}, "rhs_batch_dimensions": strings.Split(d.rightBatch, ",")}
	}
	text, err := json.Marshal(map[string]any{"operation_queue_id": "0", "cudnn_fmha_backend_config": config})
	if err != nil {
		panic("graph: configuration of flash attention")
	}
	return string(text)
}

// custom calls a function of the plugin's. Results (R, H, T, D) lie in memory as (R, T, H, D).
func (b *builder) custom(name, config string, in []value, outs ...Shape) []value {
	layout := func(s Shape, perHead bool) string {
		order := make([]int, len(s.Dims))
		for i := range order {
			order[i] = len(order) - 1 - i
		}
		if perHead && len(order) == 4 {
			order = []int{3, 1, 2, 0}
		}
		return fmt.Sprintf("dense<%s> : tensor<%dxindex>", list(order), len(order))
	}
	var ins, results, types []string
	for _, x := range in {
		ins = append(ins, layout(x.Shape, false))
	}
	for _, o := range outs {
		results, types = append(results, layout(o, true)), append(types, o.String())
	}
	names, inTypes, _ := texts(in)
	return b.several(outs, "stablehlo.custom_call @%s(%s) {backend_config = %q, api_version = 2 : i32, "+
		"operand_layouts = [%s], result_layouts = [%s]} : (%s) -> (%s)", name, names, config, strings.Join(ins, ", "),
		strings.Join(results, ", "), inTypes, strings.Join(types, ", "))
}
