package model

import (
	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/param"
)

// tensors holds the slices of one block, or of what is outside the blocks; absent ones are nil.
type tensors[T kernel.Float] [param.NumSlots][]T

// split returns the slices of flat by block; the last element holds what is outside the blocks.
func split[T kernel.Float](flat []T, views []param.View, layers int) []tensors[T] {
	all := make([]tensors[T], layers+1)
	for i := 0; i < len(views); {
		first := views[i]
		hi := first.Hi
		for i++; i < len(views) && views[i].Slot == first.Slot && views[i].Block == first.Block; i++ {
			hi = views[i].Hi
		}
		block := first.Block
		if block < 0 {
			block = layers
		}
		all[block][first.Slot] = flat[first.Lo:hi:hi]
	}
	return all
}

// vectorsLen is the elements of all tensors of one dimension.
func vectorsLen(a config.Arch) (n int) {
	views, _ := param.Layout(a)
	for _, v := range views {
		if len(v.Shape) == 1 {
			n += v.Len()
		}
	}
	return n
}

// vectors is split for the tensors of one dimension, end to end in flat. Those of matrices are nil.
func vectors[T kernel.Float](flat []T, views []param.View, layers int) []tensors[T] {
	at := 0
	moved := make([]param.View, 0, len(views))
	for _, v := range views {
		if len(v.Shape) == 1 {
			v.Lo, v.Hi, at = at, at+v.Len(), at+v.Len()
			moved = append(moved, v)
		}
	}
	return split(flat, moved, layers)
}

// residentLayout is Layout where the matrices of all blocks share the place of those of the first: only one block's are
// there at a time.
func residentLayout(a config.Arch) (views []param.View, total int) {
	views, total = param.Layout(a)
	first, each, gone := -1, 0, 0
	for i, v := range views {
		if v.Block == 0 {
			each++
			if first < 0 {
				first = i
			}
		}
	}
	for i := range views {
		v, next := &views[i], total
		if i+1 < len(views) {
			next = views[i+1].Lo
		}
		if v.Block > 0 && len(v.Shape) == 2 {
			gone += next - v.Lo
			twin := views[first+(i-first)%each]
			v.Lo, v.Hi = twin.Lo, twin.Hi
		} else {
			v.Lo, v.Hi = v.Lo-gone, v.Hi-gone
		}
	}
	return views, total - gone
}

// layout is the layout of a model's parameters.
func layout(ar *arena, a config.Arch) ([]param.View, int) {
	if ar.resident {
		return residentLayout(a)
	}
	return param.Layout(a)
}
