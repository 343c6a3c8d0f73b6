// Package grace lets what is in hand be finished after the context that started it has ended.
//
// In: a context and a time. Out: a context that ends that much later.
//
// Concurrency: as context.Context.
//
// Not here: what to finish.
package grace

import (
	"context"
	"time"
)

// Context returns a context with ctx's values that ends d after ctx does, or when it is cancelled. The
// caller must cancel it.
func Context(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return late, func() { stop(); cancel() }
}
