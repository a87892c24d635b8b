"""GGUF, the file that llama.cpp, Ollama and LM Studio run: names, vocabulary, quantisation, and the writing of it."""
