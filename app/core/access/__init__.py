"""How clients prove themselves to the API: API keys and browser sessions."""
