package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// codecs are the names of the ways of packing.
var codecs = [...]string{"none", "Snappy", "gzip", "LZO", "Brotli", "LZ4", "zstd", "LZ4"}

const (
	unpacked   = 0
	snappyPack = 1
	gzipPack   = 2
	brotliPack = 4
	lz4Hadoop  = 5 // blocks in a frame of their own, or one block
	zstdPack   = 6
	lz4Pack    = 7
)

func readable(codec int32) bool {
	return codec >= unpacked && codec <= lz4Pack && codecs[codec] != "LZO"
}

func codecName(codec int32) string {
	if uint32(codec) < uint32(len(codecs)) {
		return codecs[codec]
	}
	return fmt.Sprintf("codec %d", codec)
}

// unpack returns what packed holds, which must be exactly n bytes, in the memory of dst.
func (p *pages) unpack(dst, packed []byte, n int, codec int32) (_ []byte, err error) {
	fault := errors.New("a page of another size than it states")
	if codec == snappyPack { // the length stands at the front
		if got, err := snappy.DecodedLen(packed); err != nil || got != n {
			return dst, fault
		}
	}
	dst = grow(dst, n)
	got := n
	switch codec {
	case unpacked:
		got = len(packed)
		copy(dst, packed)
	case snappyPack:
		_, err = snappy.Decode(dst, packed)
	case gzipPack:
		if err = p.gz.Reset(bytes.NewReader(packed)); err == nil {
			_, err = io.ReadFull(&p.gz, dst)
		}
		if err != nil {
			return dst, fmt.Errorf("gzip: %w", err)
		}
		var more [1]byte
		if k, err := p.gz.Read(more[:]); k > 0 || err != io.EOF {
			return dst, fault
		}
	case brotliPack:
		r := brotli.NewReader(bytes.NewReader(packed))
		if _, err = io.ReadFull(r, dst); err != nil {
			return dst, fmt.Errorf("brotli: %w", err)
		}
		var more [1]byte
		if k, err := r.Read(more[:]); k > 0 || err != io.EOF {
			return dst, fault
		}
	case lz4Hadoop, lz4Pack:
		if codec == lz4Pack || !unframe(dst, packed) {
			got, err = unpackBlock(dst, packed)
		}
	case zstdPack:
		if p.zst == nil {
			p.zst, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecodeAllCapLimit(true))
			if err != nil {
				return dst, err
			}
		}
		var out []byte
		out, err = p.zst.DecodeAll(packed, dst[:0:n])
		got = len(out)
	}
	if err == nil && got != n {
		err = fault
	}
	return dst, err
}

// grow returns n bytes in the memory of b where that suffices.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// unframe unpacks LZ4 as Hadoop frames it: blocks after their sizes, unpacked and packed, in big-endian. It reports
// whether packed is that; old writers have one block without a frame.
func unframe(dst, packed []byte) bool {
	for len(packed) > 0 {
		if len(packed) < 8 {
			return false
		}
		size, n := binary.BigEndian.Uint32(packed), binary.BigEndian.Uint32(packed[4:])
		if packed = packed[8:]; uint64(size) > uint64(len(dst)) || uint64(n) > uint64(len(packed)) {
			return false
		}
		if got, err := unpackBlock(dst[:size], packed[:n]); err != nil || got != int(size) {
			return false
		}
		dst, packed = dst[size:], packed[n:]
	}
	return len(dst) == 0
}

// unpackBlock unpacks a block of LZ4 into dst. The library fails on a nil pointer where there is no room at all.
func unpackBlock(dst, packed []byte) (int, error) {
	if len(dst) == 0 {
		if len(packed) > 1 || len(packed) == 1 && packed[0] != 0 {
			return 0, lz4.ErrInvalidSourceShortBuffer
		}
		return 0, nil
	}
	return lz4.UncompressBlock(packed, dst)
}
