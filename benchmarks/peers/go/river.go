// River, tuned: 100 workers, a pool of ten connections, a fetch at most every 2 ms and at least every
// 20 ms (100 ms and 1 s by default). Jobs of later are made available by its leader every 5 s unless
// told otherwise. Done jobs are kept, as River comes.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

type PostArgs struct {
	Number int `json:"number"`
}

func (PostArgs) Kind() string { return "post" }

type PostWorker struct {
	river.WorkerDefaults[PostArgs]
	baseURL string
	client  *http.Client
}

func (w *PostWorker) Work(ctx context.Context, job *river.Job[PostArgs]) error {
	request, err := http.NewRequestWithContext(
		ctx, http.MethodPost, w.baseURL+strconv.Itoa(job.Args.Number), nil)
	if err != nil {
		return err
	}
	response, err := w.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

func main() {
	action, url, baseURL := os.Args[1], os.Args[2], os.Args[3]
	concurrency, err := strconv.Atoi(os.Args[4])
	must(err)
	ctx := context.Background()
	config, err := pgxpool.ParseConfig(url)
	must(err)
	config.MaxConns = 10
	pool, err := pgxpool.NewWithConfig(ctx, config)
	must(err)
	defer pool.Close()
	driver := riverpgxv5.New(pool)

	switch action {
	case "setup":
		migrator, err := rivermigrate.New(driver, nil)
		must(err)
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
		must(err)
	case "enqueue":
		client, err := river.NewClient(driver, &river.Config{})
		must(err)
		enqueue(ctx, client)
	case "insert":
		client, err := river.NewClient(driver, &river.Config{})
		must(err)
		fmt.Println("ready")
		insert(ctx, client)
	case "work":
		work(ctx, driver, baseURL, concurrency)
	}
}

// enqueue reads pairs of a number and an instant (epoch seconds, or null: at once) and copies them in.
func enqueue(ctx context.Context, client *river.Client[pgx.Tx]) {
	var jobs []river.InsertManyParams
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var number int
		var at *float64
		must(json.Unmarshal(lines.Bytes(), &[]any{&number, &at}))
		options := &river.InsertOpts{}
		if at != nil {
			options.ScheduledAt = time.UnixMicro(int64(*at * 1e6))
		}
		jobs = append(jobs, river.InsertManyParams{Args: PostArgs{number}, InsertOpts: options})
	}
	must(lines.Err())
	for first := 0; first < len(jobs); first += 5000 {
		_, err := client.InsertManyFast(ctx, jobs[first:min(first+5000, len(jobs))])
		must(err)
	}
}

// insert enqueues each number that comes in and answers with the instant just before, in ns.
func insert(ctx context.Context, client *river.Client[pgx.Tx]) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		number, err := strconv.Atoi(lines.Text())
		must(err)
		started := time.Now().UnixNano()
		_, err = client.Insert(ctx, PostArgs{number}, nil)
		must(err)
		fmt.Println(started)
	}
}

func work(ctx context.Context, driver *riverpgxv5.Driver, baseURL string, concurrency int) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = concurrency, concurrency
	workers := river.NewWorkers()
	river.AddWorker(workers, &PostWorker{baseURL: baseURL, client: &http.Client{Transport: transport}})
	client, err := river.NewClient(driver, &river.Config{
		FetchCooldown:     2 * time.Millisecond,
		FetchPollInterval: 20 * time.Millisecond,
		Logger:            slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: concurrency}},
		Workers:           workers,
	})
	must(err)
	must(client.Start(ctx))
	fmt.Println("ready")
	stopping := make(chan os.Signal, 1)
	signal.Notify(stopping, syscall.SIGTERM, syscall.SIGINT)
	<-stopping
	must(client.Stop(ctx))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
