// Package memory says how much memory this process holds, and how much more it can take.
package memory
