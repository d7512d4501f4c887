package graph

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// value is a value of a program.
type value struct {
	id     int
	result string // which result of an operation that has several
	Shape
}

// builder writes one program. Its methods write an operation each and return the result; shapes are checked where an
// operation is called, so a mistake is found before a compiler sees it.
type builder struct {
	text    strings.Builder
	next    int
	args    []string
	in      []Shape
	donated []int
}

func (s Shape) String() string {
	var b strings.Builder
	b.WriteString("tensor<")
	for _, d := range s.Dims {
		fmt.Fprintf(&b, "%dx", d)
	}
	return b.String() + string(s.Type) + ">"
}

func (v value) String() string { return fmt.Sprintf("%%%d%s", v.id, v.result) }

func list[T int | uint64](d []T) string { return strings.ReplaceAll(fmt.Sprint(d), " ", ", ") }

// argument adds an input.
func (b *builder) argument(t Type, dims ...int) value { return b.addArgument("", t, dims...) }

// donate adds an input whose memory result number out takes. The two have one shape.
func (b *builder) donate(out int, t Type, dims ...int) value {
	b.donated = append(b.donated, len(b.in))
	return b.addArgument(fmt.Sprintf(" {tf.aliasing_output = %d : i32}", out), t, dims...)
}

func (b *builder) addArgument(attribute string, t Type, dims ...int) value {
	v := value{id: b.next, Shape: Shape{t, slices.Clone(dims)}}
	b.next++
	b.in = append(b.in, v.Shape)
	b.args = append(b.args, fmt.Sprintf("%s: %s%s", v, v.Shape, attribute))
	return v
}

// put writes an operation with one result.
func (b *builder) put(t Type, dims []int, format string, a ...any) value {
	v := value{id: b.next, Shape: Shape{t, slices.Clone(dims)}}
	b.next++
	fmt.Fprintf(&b.text, "  %s = %s\n", v, fmt.Sprintf(format, a...))
	return v
}

// op writes an operation with one result, in the form that MLIR has for all of them. attributes may be empty.
func (b *builder) op(name, attributes string, t Type, dims []int, in ...value) value {
	return b.opWith("", name, attributes, t, dims, in...)
}

// opWith is op with a body.
func (b *builder) opWith(body, name, attributes string, t Type, dims []int, in ...value) value {
	if attributes != "" {
		attributes = " <{" + attributes + "}>"
	}
	names, types, _ := texts(in)
	return b.put(t, dims, `"stablehlo.%s"(%s)%s%s : (%s) -> %s`, name, names, attributes, body, types, Shape{t, dims})
}

// combining is the body of an operation that combines two elements by op.
func combining(op string, t Type) string {
	return fmt.Sprintf(` ({
  ^bb0(%%a: %[1]s, %%b: %[1]s):
    %%s = stablehlo.%[2]s %%a, %%b : %[1]s
    stablehlo.return %%s : %[1]s
  })`, Shape{Type: t}, op)
}

// array is integers as an attribute.
func array(d ...int) string {
	if len(d) == 0 {
		return "array<i64>"
	}
	return "array<i64: " + strings.Trim(list(d), "[]") + ">"
}

// program returns the program with the given results.
func (b *builder) program(name string, devices int, outs ...value) Program {
	names, types, shapes := texts(outs)
	text := fmt.Sprintf("module @%s attributes {mhlo.num_replicas = %d : i32} {\nfunc.func public @main(%s) -> "+
		"(%s) {\n"+
		"%s  return %s : %s\n}\n}\n", name, devices, strings.Join(b.args, ", "), types, b.text.String(), names, types)
	return Program{Name: name, Text: text, Devices: devices, In: b.in, Out: shapes, Donated: b.donated}
}

// several writes an operation with a result of each shape.
func (b *builder) several(shapes []Shape, format string, a ...any) []value {
	out := split(b.next, shapes)
	fmt.Fprintf(&b.text, "  %%%d:%d = %s\n", b.next, len(shapes), fmt.Sprintf(format, a...))
	b.next++
	return out
}

// split are the results of operation id.
func split(id int, shapes []Shape) []value {
	out := make([]value, len(shapes))
	for i, s := range shapes {
		out[i] = value{id, fmt.Sprintf("#%d", i), s}
	}
	return out
}

// texts are values and their types, as operations list them, and their shapes.
func texts(vs []value) (names, types string, shapes []Shape) {
	n, t := make([]string, len(vs)), make([]string, len(vs))
	for i, v := range vs {
		n[i], t[i], shapes = v.String(), v.Shape.String(), append(shapes, v.Shape)
	}
	return strings.Join(n, ", "), strings.Join(t, ", "), shapes
}

// binary is an operation on two values of one shape, such as add.
func (b *builder) binary(op string, x, y value) value {
	if !slices.Equal(x.Dims, y.Dims) || x.Type != y.Type {
		panic("graph: " + op + " of " + x.Shape.String() + " and " + y.Shape.String())
	}
	return b.op(op, "", x.Type, x.Dims, x, y)
}

func (b *builder) add(x, y value) value { return b.binary("add", x, y) }
func (b *builder) sub(x, y value) value { return b.binary("subtract", x, y) }
func (b *builder) mul(x, y value) value { return b.binary("multiply", x, y) }
func (b *builder) div(x, y value) value { return b.binary("divide", x, y) }

// unary is an operation on one value, such as exponential.
func (b *builder) unary(op string, x value) value { return b.op(op, "", x.Type, x.Dims, x) }

// constant is a value of type f32 whose elements are all f.
func (b *builder) constant(f float64, dims ...int) value {
	return b.dense(F32, fmt.Sprintf("0x%08X", math.Float32bits(float32(f))), dims...)
}

// integer is a value of integers that are all n.
func (b *builder) integer(t Type, n uint64, dims ...int) value {
	if t == Bool {
		return b.dense(t, fmt.Sprint(n != 0), dims...)
	}
	return b.dense(t, fmt.Sprint(n), dims...)
}

// integers is a vector of integers.
func (b *builder) integers(t Type, n []uint64) value { return b.dense(t, list(n), len(n)) }

func (b *builder) dense(t Type, elements string, dims ...int) value {
	return b.put(t, dims, "stablehlo.constant dense<%s> : %s", elements, Shape{t, dims})
}

// zeros is a value of numbers that are all 0.
func (b *builder) zeros(t Type, dims ...int) value { return b.cast(b.constant(0, dims...), t) }

// cast rounds or converts x to t.
func (b *builder) cast(x value, t Type) value {
	if x.Type == t {
		return x
	}
	return b.op("convert", "", t, x.Dims, x)
}

// spread repeats x: dimension i of x is dimension at[i] of the result.
func (b *builder) spread(x value, dims []int, at ...int) value {
	return b.op("broadcast_in_dim", "broadcast_dimensions = "+array(at...), x.Type, dims, x)
}

func (b *builder) reshape(x value, dims ...int) value {
	if slices.Equal(x.Dims, dims) {
		return x
	}
	return b.op("reshape", "", x.Type, dims, x)
}

func (b *builder) transpose(x value, order ...int) value {
	dims := make([]int, len(order))
	for i, d := range order {
		dims[i] = x.Dims[d]
	}
	return b.op("transpose", "permutation = "+array(order...), x.Type, dims, x)
}

// cut is the elements [lo, hi) along a dimension.
func (b *builder) cut(x value, dim, lo, hi int) value {
	if lo == 0 && hi == x.Dims[dim] {
		return x
	}
	starts, ends, dims := make([]int, len(x.Dims)), slices.Clone(x.Dims), slices.Clone(x.Dims)
	starts[dim], ends[dim], dims[dim] = lo, hi, hi-lo
	steps := slices.Repeat([]int{1}, len(x.Dims))
	return b.op("slice", fmt.Sprintf("start_indices = %s, limit_indices = %s, strides = %s", array(starts...),
		array(ends...), array(steps...)), x.Type, dims, x)
}

// concat joins values in one dimension.
func (b *builder) concat(dim int, xs ...value) value {
	if len(xs) == 1 {
		return xs[0]
	}
	dims := slices.Clone(xs[0].Dims)
	dims[dim] = 0
	for _, x := range xs {
		dims[dim] += x.Dims[dim]
	}
	return b.op("concatenate", fmt.Sprintf("dimension = %d : i64", dim), xs[0].Type, dims, xs...)
}

// reduce combines the elements along dims by op, beginning with a value of the type of x.
func (b *builder) reduce(op string, init, x value, along ...int) value {
	var dims []int
	for i, d := range x.Dims {
		if !slices.Contains(along, i) {
			dims = append(dims, d)
		}
	}
	return b.opWith(combining(op, x.Type), "reduce", "dimensions = "+array(along...), x.Type, dims, x, init)
}

func (b *builder) sum(x value, along ...int) value {
	return b.reduce("add", b.constant(0), x, along...)
}

// largest is the largest element of type f32 along dims.
func (b *builder) largest(x value, along ...int) value {
	return b.reduce("maximum", b.constant(math.Inf(-1)), x, along...)
}

// dot multiplies x and y over dimension xc of x and yc of y. The first dimensions, batch of them, are matched. Operands
// are rounded to t, sums are float32.
func (b *builder) dot(t Type, x, y value, batch, xc, yc int) value {
	return b.dotTo(F32, t, x, y, batch, xc, yc)
}

// dotTo is dot with its result rounded to out.
func (b *builder) dotTo(out, t Type, x, y value, batch, xc, yc int) value {
	x, y = b.cast(x, t), b.cast(y, t)
	dims, matched := slices.Clone(x.Dims[:batch]), make([]int, batch)
	for i := range batch {
		matched[i] = i
	}
	for _, side := range []struct {
		dims []int
		sum  int
	}{{x.Dims, xc}, {y.Dims, yc}} {
		dims = slices.Concat(dims, side.dims[batch:side.sum], side.dims[side.sum+1:])
	}
	precision := "HIGHEST"
	if t == BF16 {
		precision = "DEFAULT"
	}
	return b.op("dot_general", fmt.Sprintf("dot_dimension_numbers = #stablehlo.dot<lhs_batching_dimensions = %[1]s, "+
		"rhs_batching_dimensions = %[1]s, lhs_contracting_dimensions = [%[2]d], "+
		"rhs_contracting_dimensions = [%[3]d]>, "+
		"precision_config = [#stablehlo<precision %[4]s>, #stablehlo<precision %[4]s>]", list(matched), xc, yc,
		precision), out, dims, x, y)
}

// count numbers the elements along one dimension, from 0.
func (b *builder) count(t Type, along int, dims ...int) value {
	return b.op("iota", fmt.Sprintf("iota_dimension = %d : i64", along), t, dims)
}

// compare compares elements: EQ, NE, LT, LE, GT or GE.
func (b *builder) compare(how string, x, y value) value {
	return b.op("compare", "comparison_direction = #stablehlo<comparison_direction "+how+">", Bool, x.Dims, x, y)
}

// choose takes the elements of x where p holds, else those of y.
func (b *builder) choose(p, x, y value) value { return b.op("select", "", x.Type, x.Dims, p, x, y) }
