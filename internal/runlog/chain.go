package runlog

import (
	"encoding/json"
	"hash/crc32"
	"strconv"
	"strings"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Each record ends with its sum: the CRC-32C of all bytes of the file before sumKey. So a line that is altered,
// removed or put in shows at the next sum, and where no checkpoint has recorded the log, too.
const (
	sumKey = `,"sum":"`
	sumEnd = "\"}\n"
	sumLen = len(sumKey) + 8 + len(sumEnd)
)

// Chain follows the sums of a log.
type Chain struct {
	broken  int // sums that what was there before does not have
	crc     uint32
	summed  bool // a line had a sum
	bare    bool // and the last one has none
	unknown bool // the next sum is the first of a part, and proves nothing
}

// Altered is the number of places where lines were altered, removed or put in. What is gone from the end leaves no
// trace.
func (c *Chain) Altered() int {
	if c.bare {
		return c.broken + 1
	}
	return c.broken
}

// Take takes the next bytes of the file: a line with its end, or a part of one.
func (c *Chain) Take(line []byte) {
	text, sum, ok := cutSum(line)
	if ok {
		c.crc = crc32.Update(c.crc, castagnoli, text)
		if c.crc != sum && !c.unknown {
			c.broken++
		}
		c.summed, c.bare, c.unknown = true, false, false
		c.crc, line = sum, line[len(text):] // what comes is compared with what this line says
	}
	c.crc = crc32.Update(c.crc, castagnoli, line)
	if !ok && c.summed && len(line) > 0 && line[len(line)-1] == '\n' && json.Valid(line) { // no crash tore it
		c.bare = true
	}
}

// Skip says that bytes of the file are left out before what comes.
func (c *Chain) Skip() { c.unknown = true }

// cutSum splits a line into what its sum is of, and the sum.
func cutSum(line []byte) (text []byte, sum uint32, ok bool) {
	n := len(line) - sumLen
	if n < 0 || string(line[n:n+len(sumKey)]) != sumKey || string(line[len(line)-len(sumEnd):]) != sumEnd {
		return nil, 0, false
	}
	digits := string(line[n+len(sumKey) : len(line)-len(sumEnd)])
	v, err := strconv.ParseUint(digits, 16, 32)
	return line[:n], uint32(v), err == nil && strings.ToLower(digits) == digits
}
