//go:build race

package tokenizer

import "time"

// slow is how long a million bytes may take; the race detector is slow.
const slow = 20 * time.Second
