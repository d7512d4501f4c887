package runlog

import (
	"fmt"
	"math"
	"strconv"
)

// Float is a float64 that JSON can hold whatever its value: the shortest text that reads back to the same bits, and
// strings for NaN and the infinities. All NaNs become one.
type Float float64

// MarshalJSON implements json.Marshaler.
func (f Float) MarshalJSON() ([]byte, error) {
	v := float64(f)
	switch {
	case math.IsNaN(v):
		return []byte(`"NaN"`), nil
	case math.IsInf(v, 1):
		return []byte(`"+Inf"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-Inf"`), nil
	}
	return strconv.AppendFloat(nil, v, 'g', -1, 64), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *Float) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case `"NaN"`, `"+Inf"`, `"-Inf"`:
		data = data[1 : len(data)-1]
	default:
		if len(data) == 0 || data[0] != '-' && (data[0] < '0' || data[0] > '9') {
			return fmt.Errorf("runlog: %s is neither a number nor \"NaN\", \"+Inf\", \"-Inf\"", data)
		}
	}
	v, err := strconv.ParseFloat(string(data), 64)
	if err == nil {
		*f = Float(v)
	}
	return err
}

// Floats converts numbers for a record.
func Floats(list []float64) []Float {
	out := make([]Float, len(list))
	for i, v := range list {
		out[i] = Float(v)
	}
	return out
}
