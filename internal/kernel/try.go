package kernel

import (
	"os"
	"slices"
	"strings"
)

// Try reports whether GIMBAL_TRY names a candidate: what bench/minutes measures and no default has.
func Try(name string) bool { return slices.Contains(tried, name) }

var tried = strings.Split(os.Getenv("GIMBAL_TRY"), ",")
