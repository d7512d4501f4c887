package engine

import "fmt"

// NonFiniteError is a value that is not finite where every one must be.
type NonFiniteError struct {
	What string // weight, first moment of or second moment of
	Element
}

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("%s %s[%d] is %v", e.What, e.Tensor, e.Index, e.Value)
}
