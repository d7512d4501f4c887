package graph

import (
	"fmt"
	"slices"
	"strings"
)

// loop runs body n times, from 0 to n-1, on values that it carries, and returns them. The body may read what was made
// before the loop. A loop of one is the body itself.
func (b *builder) loop(n int, carried []value, body func(i value, carried []value) []value) []value {
	if n == 1 {
		return body(b.integer(I32, 0), slices.Clone(carried))
	}
	all := append([]value{b.integer(I32, 0)}, carried...)
	_, types, shapes := texts(all)
	inner, heads := make([]value, len(all)), make([]string, len(all))
	at := b.next + 1
	for i, v := range all {
		inner[i] = value{id: at + i, Shape: v.Shape}
		heads[i] = fmt.Sprintf("%s = %s", inner[i], v)
	}
	out := split(b.next, shapes)
	b.next = at + len(all)
	fmt.Fprintf(&b.text, "  %%%d:%d = stablehlo.while(%s) : %s\n  cond {\n", at-1, len(all),
		strings.Join(heads, ", "), types)
	more := b.compare("LT", inner[0], b.integer(I32, uint64(n)))
	fmt.Fprintf(&b.text, "  stablehlo.return %s : %s\n  } do {\n", more, more.Shape)
	results := body(inner[0], inner[1:])
	names, types, _ := texts(append([]value{b.add(inner[0], b.integer(I32, 1))}, results...))
	fmt.Fprintf(&b.text, "  stablehlo.return %s : %s\n  }\n", names, types)
	return out[1:]
}

// part is n of x along a dimension, from at, a scalar of I32.
func (b *builder) part(x value, dim int, at value, n int) value {
	dims := slices.Clone(x.Dims)
	dims[dim] = n
	return b.op("dynamic_slice", "slice_sizes = "+array(dims...), x.Type, dims, b.startingAt(dim, at, x)...)
}

// place overwrites a part of x along a dimension, from at.
func (b *builder) place(x, part value, dim int, at value) value {
	return b.op("dynamic_update_slice", "", x.Type, x.Dims, b.startingAt(dim, at, x, part)...)
}

// startingAt is operands and where they begin in each dimension: at in one, and 0 in the others.
func (b *builder) startingAt(dim int, at value, operands ...value) []value {
	zero := b.integer(at.Type, 0)
	for i := range operands[0].Dims {
		if i == dim {
			operands = append(operands, at)
		} else {
			operands = append(operands, zero)
		}
	}
	return operands
}

// later returns values that are not there before all of vs are. What is computed from them is computed again, and not
// taken from where it was computed before.
func (b *builder) later(vs ...value) []value {
	names, types, shapes := texts(vs)
	return b.several(shapes, "stablehlo.optimization_barrier %s : %s", names, types)
}

// sort sorts the first of xs along its first dimension, in a stable order, and takes the others along.
func (b *builder) sort(xs ...value) []value {
	names, types, shapes := texts(xs)
	var args []string
	for i, x := range xs {
		args = append(args, fmt.Sprintf("%%a%d: %s, %%b%d: %s", i, Shape{Type: x.Type}, i, Shape{Type: x.Type}))
	}
	key := Shape{Type: xs[0].Type}
	return b.several(shapes, `"stablehlo.sort"(%s) <{dimension = 0 : i64, is_stable = true}> ({
  ^bb0(%s):
    %%s = stablehlo.compare LT, %%a0, %%b0 : (%s, %s) -> tensor<i1>
    stablehlo.return %%s : tensor<i1>
  }) : (%s) -> (%s)`, names, strings.Join(args, ", "), key, key, types, types)
}
