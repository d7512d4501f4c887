package kernel

import (
	"math"
	"math/bits"
	"unsafe"
)

// The generic twin of the bfloat16 kernels is always compiled and defines what the others do. Products and sums are
// float32.

var genericBF16 = bfTable{panel: panelGo, toBF16: toBF16Go, fromBF16: fromBF16Go,
	packBlocks: packBlocksGo, packBlocksF32: packBlocksF32Go, packEdge: packEdgeGo}

func toBF16Go(dst []uint16, src []float32) {
	for i, v := range src {
		dst[i] = roundBF16(v)
	}
}

// roundBF16 does what the instruction VCVTNEPS2BF16 does.
func roundBF16(f float32) uint16 {
	b := math.Float32bits(f)
	switch {
	case b&0x7f800000 == 0: // zero or denormal
		return uint16(b >> 16 & 0x8000)
	case b&0x7fffffff > 0x7f800000: // NaN
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

func fromBF16Go(dst []float32, src []uint16) {
	for i, v := range src {
		dst[i] = widenBF16(v)
	}
}

func widenBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// packedAt is the place of term l, column j in a packed block of 32 by 32.
func packedAt(l, j int) int { return j>>4<<9 | l>>1<<5 | j&15<<1 | l&1 }

func packBlocksGo(kind packKind, dst *uint16, step int, src *uint16, stride, blocks int) {
	from := unsafe.Slice(src, 31*stride+32*blocks)
	for b := range blocks {
		if kind == transpose {
			to := unsafe.Slice(dst, (32*b+31)*step+32)[32*b*step:]
			for i := range 32 {
				for j := range 32 {
					to[j*step+i] = from[i*stride+32*b+j]
				}
			}
			continue
		}
		to := unsafe.Slice(dst, b*step+tileSize)[b*step:]
		for i := range 32 {
			for j, v := range from[i*stride+32*b:][:32] {
				if kind == pairs {
					to[packedAt(i, j)] = v
				} else {
					to[packedAt(j, i)] = v
				}
			}
		}
	}
}

func packEdgeGo(kind packKind, dst *uint16, step int, rows [tileSize]uint16) {
	packBlocksGo(kind, dst, step, &rows[0], tileSide, 1)
}

func packBlocksF32Go(kind packKind, dst *uint16, step int, src *float32, stride, blocks int) {
	from := unsafe.Slice(src, 31*stride+32*blocks)
	for b := range blocks {
		var block [tileSize]uint16
		for i := range 32 {
			toBF16Go(block[32*i:], from[i*stride+32*b:][:32])
		}
		packBlocksGo(kind, (*uint16)(unsafe.Add(unsafe.Pointer(dst), 2*b*step)), step, &block[0], 32, 1)
	}
}

// panelGo adds the terms in the order of a tile: blocks of 16 pairs, each added to the sum of those before.
func panelGo(p *panel) {
	a := unsafe.Slice((*uint16)(p.a), (p.rows-1)*p.lda/2+32*p.steps)
	steps := p.steps
	if p.tail != nil {
		steps++
	}
	for j := range p.blocks {
		b := unsafe.Slice((*uint16)(unsafe.Add(unsafe.Pointer(p.b), j*p.bstep)), steps*tileSize)
		cols := tileSide
		if j == p.blocks-1 {
			cols = bits.Len32(p.mask)
		}
		for i := range p.rows {
			var sum [tileSide]float32
			for l := range steps {
				var terms []uint16
				if l < p.steps {
					terms = a[i*p.lda/2+32*l:][:32]
				} else {
					terms = unsafe.Slice(p.tail, p.rows*32)[i*32:][:32]
				}
				for t, h := range terms {
					v := widenBF16(h)
					block := b[l*tileSize:][:tileSize]
					for c := range sum {
						sum[c] += v * widenBF16(block[packedAt(t, c)])
					}
				}
			}
			row := unsafe.Add(p.c, i*p.ldc)
			switch p.mode {
			case storeBF16:
				toBF16Go(unsafe.Slice((*uint16)(row), p.blocks*32)[32*j:], sum[:cols])
			case storeF32:
				copy(unsafe.Slice((*float32)(row), 32*j+cols)[32*j:], sum[:cols])
			default:
				for c := range cols {
					*(*float32)(unsafe.Add(row, 4*(32*j+c))) += sum[c]
				}
			}
		}
	}
}
