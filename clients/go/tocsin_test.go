package tocsin

import (
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var address, key = os.Getenv("TOCSIN_URL"), os.Getenv("TOCSIN_API_KEY")

func connected(t *testing.T) *ClientWithResponses {
	t.Helper()
	api, err := Connect(address, key)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func report(name string) JobDocument {
	return JobDocument{
		Name:     &name,
		Kind:     JobKindHttp,
		Target:   HTTP(HttpTarget{Url: "https://example.com/report"}),
		Cron:     Ptr("0 3 * * *"),
		Timezone: Ptr("Europe/Paris"),
		Metadata: &JsonObject{"nested": map[string]any{"deep": []any{1.0, nil}}},
		Tags:     &[]string{"go"},
	}
}

func TestAJobIsCreatedAndRead(t *testing.T) {
	api := connected(t)
	created, err := api.CreateJobWithResponse(t.Context(), nil, report("go-one"))
	if err != nil {
		t.Fatal(err)
	}
	read, err := api.GetJobWithResponse(t.Context(), "go-one")
	if err != nil {
		t.Fatal(err)
	}
	if created.JSON201.Id != read.JSON200.Id || read.JSON200.NextRun == nil {
		t.Errorf("%+v was created, %+v read", created.JSON201, read.JSON200)
	}
	if nested := read.JSON200.Metadata["nested"].(map[string]any); len(nested["deep"].([]any)) != 2 {
		t.Errorf("the metadata are %v", read.JSON200.Metadata)
	}
}

func TestAllPagesOfAListAreRead(t *testing.T) {
	api := connected(t)
	var batch JobBatch
	var wanted []string
	for n := range 7 {
		name := "go-page-" + strconv.Itoa(n)
		batch.Jobs = append(batch.Jobs, BatchJob{
			Name:   &name,
			Kind:   JobKindHttp,
			Target: HTTP(HttpTarget{Url: "https://example.com/report"}),
			Cron:   Ptr("0 3 * * *"),
			Tags:   &[]string{"go-pages"},
		})
		wanted = append(wanted, name)
	}
	if _, err := api.CreateJobsWithResponse(t.Context(), nil, batch); err != nil {
		t.Fatal(err)
	}
	var names []string
	for job, err := range All(func(cursor *string) ([]Job, *string, error) {
		page, err := api.ListJobsWithResponse(t.Context(), &ListJobsParams{
			Tag: &[]string{"go-pages"}, Limit: Ptr(3), Cursor: cursor,
		})
		if err != nil {
			return nil, nil, err
		}
		return page.JSON200.Items, page.JSON200.NextCursor, nil
	}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, *job.Name)
	}
	slices.Sort(names)
	if !slices.Equal(names, wanted) {
		t.Errorf("%v were listed, not %v", names, wanted)
	}
}

func TestAChangeOfWhatAnotherHasChangedIsAConflict(t *testing.T) {
	api := connected(t)
	created, err := api.CreateJobWithResponse(t.Context(), nil, report("go-edited"))
	if err != nil {
		t.Fatal(err)
	}
	if *created.JSON201.Name != "go-edited" {
		t.Fatal(created.JSON201)
	}
	first := &PatchJobParams{IfMatch: Ptr(created.HTTPResponse.Header.Get("ETag"))}
	patch := JobPatch{Description: Ptr("another")}
	if _, err := api.PatchJobWithResponse(t.Context(), "go-edited", first, patch); err != nil {
		t.Fatal(err)
	}

	_, err = api.PatchJobWithResponse(t.Context(), "go-edited", first, patch)

	var problem *ProblemError
	if !errors.As(err, &problem) || problem.Status != http.StatusPreconditionFailed {
		t.Errorf("it was answered by %v", err)
	}
}

func TestAProblemNamesTheFields(t *testing.T) {
	job := report("go-refused")
	job.Timezone = Ptr("Europe/Pari")

	_, err := connected(t).CreateJobWithResponse(t.Context(), nil, job)

	var problem *ProblemError
	if !errors.As(err, &problem) || problem.Status != http.StatusUnprocessableEntity {
		t.Fatalf("it was answered by %v", err)
	}
	if problem.Errors[0].Field != "timezone" || !strings.Contains(err.Error(), "Europe/Paris") {
		t.Errorf("the problem says %v", err)
	}
}

// losing has the answer to the first request get lost.
type losing struct{ sent int }

func (l *losing) Do(request *http.Request) (*http.Response, error) {
	response, err := http.DefaultClient.Do(request)
	if l.sent++; l.sent == 1 {
		return nil, errors.New("the connection was closed")
	}
	return response, err
}

func TestARequestWhoseAnswerWasLostIsSentAgainWithoutASecondEffect(t *testing.T) {
	by := &losing{}
	api, err := ConnectBy(by, address, key)
	if err != nil {
		t.Fatal(err)
	}

	created, err := api.CreateJobWithResponse(t.Context(), nil, report("go-once"))

	if err != nil || by.sent != 2 {
		t.Fatalf("after %d requests: %v", by.sent, err)
	}
	if created.HTTPResponse.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("it was answered anew: %+v", created.JSON201)
	}
}

func TestARunSoManySecondsFromNowIsNotCountedAnew(t *testing.T) {
	by := &losing{}
	api, err := ConnectBy(by, address, key)
	if err != nil {
		t.Fatal(err)
	}
	soon := JobReplacement{
		Kind:         JobKindHttp,
		Target:       HTTP(HttpTarget{Url: "https://example.com/report"}),
		RunInSeconds: Ptr(3600.0),
	}

	_, err = api.PutJobWithResponse(t.Context(), "go-soon", nil, soon)

	if err == nil || by.sent != 1 {
		t.Errorf("after %d requests: %v", by.sent, err)
	}
}

// deaf keeps each request, and answers none.
type deaf struct{ asked []*http.Request }

func (d *deaf) Do(request *http.Request) (*http.Response, error) {
	d.asked = append(d.asked, request)
	return nil, errors.New("the connection was closed")
}

func TestTheFirstKeyIsAskedForWithoutAnIdempotencyKeyAndOnce(t *testing.T) {
	by := &deaf{}
	api, err := ConnectBy(by, address, "")
	if err != nil {
		t.Fatal(err)
	}

	_, err = api.CreateKeyWithResponse(t.Context(), nil, CreateKeyJSONRequestBody{Name: "first"})

	if err == nil || len(by.asked) != 1 || by.asked[0].Header.Get("Idempotency-Key") != "" {
		t.Errorf("%d requests were sent: %v", len(by.asked), err)
	}
}

// busy asks for a minute.
type busy struct{ sent int }

func (b *busy) Do(request *http.Request) (*http.Response, error) {
	b.sent++
	return &http.Response{
		StatusCode: http.StatusTooManyRequests,
		Header:     http.Header{"Retry-After": {"60"}},
		Body:       io.NopCloser(strings.NewReader(`{"status": 429, "detail": "too many"}`)),
		Request:    request,
	}, nil
}

func TestAWaitThatIsTooLongIsLeftToTheCaller(t *testing.T) {
	by := &busy{}
	api, err := ConnectBy(by, address, key)
	if err != nil {
		t.Fatal(err)
	}

	_, err = api.GetJobWithResponse(t.Context(), "go-one")

	var problem *ProblemError
	if !errors.As(err, &problem) || problem.Status != http.StatusTooManyRequests || by.sent != 1 {
		t.Errorf("after %d requests: %v", by.sent, err)
	}
}
