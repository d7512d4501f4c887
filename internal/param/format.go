package param

import "math"

// Formats are the formats in which a decoder can hold its matrices: as they are, rounded to bfloat16, or in 8 bits with
// a scale for 32 neighbours in a row. Fewer bytes are read for each token, at some cost of accuracy.
var Formats = []string{FormatFP32, FormatBF16, FormatInt8}

// Names of formats.
const (
	FormatFP32 = "fp32"
	FormatBF16 = "bf16"
	FormatInt8 = "int8"
)

// RoundBF16 rounds to bfloat16, to nearest even. Unlike the kernels it leaves denormal numbers.
func RoundBF16(x float32) float32 {
	bits := math.Float32bits(x)
	return math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff)
}
