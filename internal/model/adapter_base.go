package model

import "gimbal/internal/config"

// residentLayout is Layout where the matrices of all blocks share the place of those of the first: only one block's are
// there at a time.
func residentLayout(a config.Arch) (views []View, total int) {
	views, total = Layout(a)
	first, each, gone := -1, 0, 0
	for i, v := range views {
		if v.Block == 0 {
			each++
			if first < 0 {
				first = i
			}
		}
	}
	all := targets(a)
	for i := range views {
		v, next := &views[i], total
		if i+1 < len(views) {
			next = views[i+1].Lo
		}
		if v.Block > 0 && all[v.slot] != nil {
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
func layout(ar *arena, a config.Arch) ([]View, int) {
	if ar.resident {
		return residentLayout(a)
	}
	return Layout(a)
}

// bring makes the matrices of a block from those in bfloat16.
func (l *lowRank[T]) bring(block int) {
	for _, list := range l.blocks[block] {
		for i := range list {
			l.merge(&list[i])
		}
	}
	l.held = block
}

// keep takes the matrices of a block, which have just been read, into bfloat16.
func (l *lowRank[T]) keep(block int) {
	for _, list := range l.blocks[block] {
		for i := range list {
			l.take(&list[i])
		}
	}
}
