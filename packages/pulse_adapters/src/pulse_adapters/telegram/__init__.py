"""Telegram: notifications out, commands in from chats that are on a list."""
