package graph

import (
	"fmt"
	"slices"

	"gimbal/internal/config"
	"gimbal/internal/param"
)

// On several devices every tensor is flat, and each device has an equal part of it, its shard, padded with zeros.

// shardDims is the shape of what one device holds of a tensor.
func shardDims(dims []int, devices int) []int {
	if devices == 1 {
		return dims
	}
	return []int{(Shape{F32, dims}.count() + devices - 1) / devices}
}

// Params is what each device holds of the parameters: all of them, or its shards. They are those that training changes,
// and the frozen ones beside an adapter.
func Params(a config.Arch, ad param.Adapter, devices int, sharded bool) (frozen, trained []Shape) {
	held := func(views []param.View) (list []Shape) {
		for _, v := range views {
			dims := v.Shape
			if sharded {
				dims = shardDims(dims, devices)
			}
			list = append(list, Shape{F32, slices.Clone(dims)})
		}
		return list
	}
	views, _ := param.TrainedLayout(a, ad)
	if trained = held(views); ad.Rank > 0 {
		views, _ = param.Layout(a)
		frozen = held(views)
		for i, v := range views {
			if ad.Base == param.FormatBF16 && v.Block >= 0 && len(v.Shape) == 2 {
				frozen[i].Type = BF16
			}
		}
	}
	return frozen, trained
}

// Reduce returns the program that adds up the gradients of all devices: grads… of each device, whole, → grads… as the
// other programs take them. On one device there is nothing to reduce, and no such program.
//
// Numerics: the order of a sum is that of the plugin; it is the same in every run.
func (o Optimizer) Reduce() Program {
	b, list := &builder{}, o.tensors()
	var out []value
	for _, t := range list {
		out = append(out, b.argument(F32, t.dims...))
	}
	for i, t := range list {
		out[i] = b.collect("reduce_scatter", "scatter_dimension = 0 : i64, ", "add", o.Devices,
			b.padded(out[i], o.Devices), t.part)
	}
	return b.program("reduce", o.Devices, out...)
}

// group lists all devices.
func group(devices int) string {
	ids := make([]int, devices)
	for i := range ids {
		ids[i] = i
	}
	return fmt.Sprintf("replica_groups = dense<[%s]> : tensor<1x%dxi64>", list(ids), devices)
}

// collect is an operation that combines x of all devices by op.
func (b *builder) collect(name, attribute, op string, devices int, x value, dims []int) value {
	return b.opWith(combining(op, x.Type), name, attribute+group(devices), x.Type, dims, x)
}

// across combines x of all devices by op, element by element.
func (b *builder) across(op string, devices int, x value) value {
	if devices == 1 {
		return x
	}
	return b.collect("all_reduce", "", op, devices, x, x.Dims)
}

// deal cuts x along one dimension into a piece for each device, and joins the pieces that this device gets along
// another.
func (b *builder) deal(devices, cut, join int, x value) value {
	if devices == 1 {
		return x
	}
	dims := slices.Clone(x.Dims)
	dims[cut], dims[join] = dims[cut]/devices, dims[join]*devices
	return b.op("all_to_all", fmt.Sprintf("split_dimension = %d : i64, concat_dimension = %d : i64, "+
		"split_count = %d : i64, %s", cut, join, devices, group(devices)), x.Type, dims, x)
}

// padded is x flat, with zeros up to equal shards.
func (b *builder) padded(x value, devices int) value {
	return b.pad(b.flat(x), shardDims(x.Dims, devices)[0]*devices)
}

// pad appends zeros to the rows of x, up to n elements.
func (b *builder) pad(x value, n int) value {
	last := len(x.Dims) - 1
	if x.Dims[last] == n {
		return x
	}
	none, more, dims := make([]int, last+1), make([]int, last+1), slices.Clone(x.Dims)
	more[last], dims[last] = n-x.Dims[last], n
	return b.op("pad", fmt.Sprintf("edge_padding_low = %[1]s, edge_padding_high = %[2]s, interior_padding = %[1]s",
		array(none...), array(more...)), x.Type, dims, x, b.zeros(x.Type))
}

// shardAt is the index of this device's first element of a tensor in shards of n, as a number of type U32.
func (b *builder) shardAt(n int) value {
	return b.mul(b.op("replica_id", "", U32, nil), b.integer(U32, uint64(n)))
}

// shard is what this device holds of the whole tensor x.
func (b *builder) shard(x value, devices int) value {
	if devices == 1 {
		return x
	}
	n := shardDims(x.Dims, devices)[0]
	return b.part(b.padded(x, devices), 0, b.shardAt(n), n)
}

// whole is the tensor of the shape dims whose shards are x.
func (b *builder) whole(x value, dims []int, devices int) value {
	if devices == 1 {
		return x
	}
	y := b.op("all_gather", "all_gather_dim = 0 : i64, "+group(devices), x.Type, []int{x.Dims[0] * devices}, x)
	return b.reshape(b.first(y, []int{(Shape{F32, dims}).count()}), dims...)
}
