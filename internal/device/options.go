package device

import (
	"errors"
	"time"
)

// ErrLost is wrapped by errors of a process that ended, that hung, or whose device is gone. What lay on the devices is
// lost; a new session can be opened.
var ErrLost = errors.New("the process that owns the devices is lost")

// ErrMemory is wrapped by errors of a device that has too little memory.
var ErrMemory = errors.New("the device has too little memory")

// Options says which devices a session opens, and how.
type Options struct {
	Plugin  string   // path of the plugin
	Kind    string   // a name of Kinds; "": what the path of the plugin tells
	Devices int      // how many; 0: one; less: all that are there
	Target  string   // one of Targets, in place of devices that are there: programs are compiled and not run
	Memory  float32  // share of a card's memory to take at once; 0: 0.9
	Env     []string // added to the environment of the process: NAME=VALUE; XLA_FLAGS are added to those of the user
	Helper  string   // path of gimbal-device; "": found
	Cache   string   // folder of compiled programs; "": that of the user

	Limit        time.Duration // longest time of a call; 0: 10 minutes
	CompileLimit time.Duration // longest time to compile; 0: 1 hour
}
