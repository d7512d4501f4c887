//go:build !race

package tokenizer

import "time"

// slow is how long a million bytes may take.
const slow = 1 * time.Second
