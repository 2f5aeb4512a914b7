// Package tocsin is a client of Tocsin's API: what oapi-codegen makes of its document, with
// problems as errors, lists read page by page, and safe retries.
package tocsin

//go:generate go tool -modfile=tools/go.mod oapi-codegen -config oapi-codegen.yaml openapi.json

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	firstWait   = 200 * time.Millisecond
	longestWait = 10 * time.Second
)

// ProblemError is what the API refused, and the fields that have to change.
type ProblemError struct {
	Problem
}

func (e *ProblemError) Error() string {
	if len(e.Errors) == 0 {
		return e.Detail
	}
	fields := make([]string, len(e.Errors))
	for i, one := range e.Errors {
		fields[i] = one.Field + " " + one.Message
	}
	return strings.Join(fields, "; ")
}

// Connect makes a client of the API at this address. Every call returns a *ProblemError for what
// the API refuses, and is sent up to three times where that cannot have a second effect.
func Connect(url, key string) (*ClientWithResponses, error) {
	return ConnectBy(&http.Client{Timeout: 30 * time.Second}, url, key)
}

// ConnectBy is Connect with a client of HTTP of one's own.
func ConnectBy(by HttpRequestDoer, url, key string) (*ClientWithResponses, error) {
	return NewClientWithResponses(url, WithHTTPClient(&sender{by: by, key: key, attempts: 3}))
}

// All yields the items of all pages of a list; page is called with the cursor of each.
func All[Item any](
	page func(cursor *string) (items []Item, next *string, err error),
) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		var cursor *string
		for {
			items, next, err := page(cursor)
			if err != nil {
				var none Item
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == nil {
				return
			}
			cursor = next
		}
	}
}

// Ptr points to a value, as fields that may be left out are written.
func Ptr[T any](value T) *T { return &value }

// HTTP makes the target of an http job; for other kinds use JobTarget's own methods.
func HTTP(target HttpTarget) (made JobTarget) {
	if err := made.FromHttpTarget(target); err != nil {
		panic(err) // a value that no JSON has, such as a function in the body
	}
	return made
}

type sender struct {
	by       HttpRequestDoer
	key      string
	attempts int
}

func (s *sender) Do(request *http.Request) (*http.Response, error) {
	if s.key != "" {
		request.Header.Set("Authorization", "Bearer "+s.key)
		// A POST that is sent again with the same Idempotency-Key has no second effect. Answers
		// with secrets are kept for nobody but who has an API key.
		if request.Method == http.MethodPost && request.Header.Get("Idempotency-Key") == "" {
			request.Header.Set("Idempotency-Key", uuid.NewString())
		}
	}
	response, err := s.send(request)
	if err != nil || response.StatusCode < 400 {
		return response, err
	}
	defer response.Body.Close()
	return nil, problemOf(response)
}

func (s *sender) send(request *http.Request) (*http.Response, error) {
	attempts := s.attempts
	if safe, err := mayBeRepeated(request); err != nil {
		return nil, err
	} else if !safe {
		attempts = 1
	}
	for attempt := 1; ; attempt++ {
		if request.GetBody != nil {
			body, err := request.GetBody()
			if err != nil {
				return nil, err
			}
			request.Body = body
		}
		response, err := s.by.Do(request)
		if attempt >= attempts || (err == nil && !again(response.StatusCode)) {
			return response, err
		}
		wait := time.Duration(float64(firstWait<<(attempt-1)) * (0.5 + rand.Float64()))
		if err == nil {
			if seconds, _ := strconv.Atoi(response.Header.Get("Retry-After")); seconds > 0 {
				if seconds > int(longestWait/time.Second) {
					return response, nil // sooner than it asks is no use
				}
				wait = time.Duration(seconds) * time.Second
			}
			response.Body.Close()
		}
		select {
		case <-request.Context().Done():
			return nil, request.Context().Err()
		case <-time.After(wait):
		}
	}
}

// mayBeRepeated says whether a request that is sent twice has no second effect.
func mayBeRepeated(request *http.Request) (bool, error) {
	switch request.Method {
	case http.MethodGet:
		return true, nil
	case http.MethodPost:
		return request.Header.Get("Idempotency-Key") != "", nil
	case http.MethodPut:
		// An If-Match that was met before its answer got lost is not met again.
		if request.Header.Get("If-Match") != "" || request.GetBody == nil {
			return false, nil
		}
		body, err := request.GetBody()
		if err != nil {
			return false, err
		}
		text, err := io.ReadAll(body)
		// So many seconds from now are counted anew: what has run in between would run again.
		return !bytes.Contains(text, []byte(`"run_in_seconds"`)), err
	}
	return false, nil
}

func again(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func problemOf(response *http.Response) error {
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var problem ProblemError
	if err := json.Unmarshal(text, &problem.Problem); err != nil || problem.Status == 0 {
		return fmt.Errorf("%s answers %d, but not as the API of Tocsin does",
			response.Request.URL.Host, response.StatusCode)
	}
	return &problem
}
