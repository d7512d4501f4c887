package device

import "errors"

// ErrLost is wrapped by the error of a process that ended, or of a device that is lost.
var ErrLost = errors.New("the device is lost")
