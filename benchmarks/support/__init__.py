"""What every benchmark needs: a database, a receiver, contestants, results."""
